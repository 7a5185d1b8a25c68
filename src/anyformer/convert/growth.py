"""Growth of a trained model to a larger one with the same outputs."""

from __future__ import annotations

import torch

from anyformer.channels.pattention import PattentionChannel
from anyformer.contract import Mixer
from anyformer.layers.pattention import Pattention
from anyformer.mixers.linear.rwkv7 import Rwkv7
from anyformer.mixers.softmax.tokenformer import TokenFormerAttention
from anyformer.models import SequenceModel
from anyformer.models.line import PartSpec


@torch.no_grad()
def grow_tokens(model: SequenceModel, factor: int, *, keep_scale: bool = True) -> SequenceModel:
    """Return a copy with ``factor`` times the parameter tokens and the same outputs (Wang 2024, section 3.3).

    The keys of new tokens are zero, so that their weight is gelu(0) = 0; their values are initialised at random.

    Args:
        model: a model with ``tokenformer`` or ``pattention`` parts. Other parts stay as they are.
        factor: number of tokens afterwards, divided by the number before.
        keep_scale: keep tau at the square root of the number of tokens before. The authors' code uses the number
            afterwards, which changes the outputs.

    Raises:
        ValueError: if there are no parameter tokens, or their scores are softmax, which gives zero keys some weight.
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
    """Return a copy with more heads, thus a larger state, and the same outputs (arXiv 2504.08247).

    The columns of new heads in the output projection are zero, so that they add nothing at first.

    Args:
        model: a model with ``rwkv7`` parts. Other parts stay as they are.
        num_heads: heads of each ``rwkv7`` part afterwards.

    Raises:
        ValueError: if there are no such parts, or they have more than ``num_heads`` heads.
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
