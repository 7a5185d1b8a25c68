"""A trained model into a larger one."""

from __future__ import annotations

import torch

from anyformer.channels.pattention import PattentionChannel
from anyformer.contract import Mixer
from anyformer.layers.pattention import Pattention
from anyformer.mixers.linear.rwkv7 import Rwkv7
from anyformer.mixers.softmax.tokenformer import TokenFormerAttention
from anyformer.models import SequenceModel
from anyformer.models.spec import PartSpec


@torch.no_grad()
def grow_tokens(model: SequenceModel, factor: int, *, keep_scale: bool = True) -> SequenceModel:
    """A TokenFormer with ``factor`` times its parameter tokens and the same outputs (Wang 2024, section 3.3).

    New keys are zero, so that gelu(0) = 0 is all that their values, which are drawn anew, weigh at first.

    Args:
        model: of ``tokenformer`` and ``pattention`` parts, among others, which stay as they are.
        factor: how many times as many tokens.
        keep_scale: keep tau at the square root of the first number of tokens. The authors' code takes it of the new
            number, which changes the outputs.

    Raises:
        ValueError: for a model without parameter tokens, or with softmax scores, under which a zero key is not
            without weight.
    """
    if factor < 1:
        raise ValueError(f"factor must be at least 1, got {factor}")
    layers = [module for module in model.modules() if isinstance(module, Pattention)]
    if not layers or any(layer.score == "softmax" for layer in layers):
        raise ValueError("model must have parameter tokens with scores other than softmax")
    spec = model.spec
    built: dict[type[Mixer], Mixer] = {
        type(m): m for m in model.modules() if isinstance(m, (TokenFormerAttention, PattentionChannel))
    }

    def grown(part: PartSpec) -> PartSpec:
        kind, option = {
            "tokenformer": (TokenFormerAttention, "num_tokens"),
            "pattention": (PattentionChannel, "hidden_dim"),
        }.get(part.name, (None, ""))
        if kind is None:
            return part
        mixer: Mixer = built[kind]
        layer = next(module for module in mixer.modules() if isinstance(module, Pattention))
        options = {k: v for k, v in part.options.items() if k not in ("factor", "scale")}
        options[option] = factor * len(layer.keys)
        if keep_scale:
            options["scale"] = layer.scale
        return part.model_copy(update={"options": options})

    fields = spec.model_dump()
    fields["layers"] = [grown(part).model_dump() for part in spec.layers]
    fields["channel"] = None if spec.channel is None else grown(spec.channel).model_dump()
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    new.to(next(model.parameters()).dtype)
    for name, p in new.named_parameters():
        old = model.get_parameter(name)
        if name.endswith(".keys"):
            p.zero_()
        p[: len(old)] = old
    return new.train(model.training)


@torch.no_grad()
def grow_heads(model: SequenceModel, num_heads: int) -> SequenceModel:
    """A model of ``rwkv7`` parts with more heads, and so a larger state, and the same outputs (arXiv 2504.08247).

    Nothing of what new heads read is written out at first: their columns of the output map are zero.

    Args:
        model: of ``rwkv7`` parts, among others, which stay as they are.
        num_heads: heads of each of them.

    Raises:
        ValueError: for a model without such parts, or with more heads than ``num_heads``.
    """
    mixers = {name: m for name, m in model.named_modules() if isinstance(m, Rwkv7)}
    if not mixers or any(mixer.num_heads > num_heads for mixer in mixers.values()):
        raise ValueError(f"model must have rwkv7 parts of at most num_heads={num_heads} heads each")
    mixer = next(iter(mixers.values()))
    rank = len(mixer.rate[0].get_parameter("weight"))
    fields = model.spec.model_dump()
    for part in fields["layers"]:
        if part["name"] == "rwkv7":
            part["options"] |= {"num_heads": num_heads, "head_dim": mixer.head_dim, "rank": rank}
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    new.to(next(model.parameters()).dtype)
    outs = {f"{name}.out.weight" for name in mixers}
    for name, p in new.named_parameters():
        old = model.get_parameter(name)
        if name in outs:
            p.zero_()
        p[tuple(slice(n) for n in old.shape)] = old
    return new.train(model.training)
