"""Conversion of Marian translators, as transformers stores them, to our encoder-decoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyformer.convert.architectures import need
from anyformer.convert.checkpoint import checked, read_checkpoint, same
from anyformer.convert.hf import LoadedModel
from anyformer.models import EncoderDecoder, load_spec

ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}


@torch.no_grad()
def from_marian(source: str | Path | LoadedModel) -> EncoderDecoder:
    """Convert a Marian translator of transformers (``Helsinki-NLP/opus-mt-...``).

    Logits are those of transformers in evaluation mode. A target begins with the config's ``decoder_start_token_id``.
    Marian's sinusoidal positions have all sines before all cosines, ours interleave them: the channels of the
    residual stream are permuted accordingly in all weights.

    Args:
        source: a folder with ``config.json`` and weights, or a model that transformers has loaded.

    Returns:
        A model in evaluation mode, with the dtype of the embedding.

    Raises:
        ValueError: for another architecture, vocabularies that are not shared, and a tensor that is missing, left
            over, quantised or of another shape.
    """
    tensors: Mapping[str, Tensor]
    if isinstance(source, (str, Path)):
        config, tensors = read_checkpoint(Path(source))
    elif hasattr(source, "config") and hasattr(source, "state_dict"):
        config, tensors = source.config.to_dict(), source.state_dict()
    else:
        raise ValueError(f"source must be a folder or a model of transformers, got {type(source).__name__}")
    model = EncoderDecoder(load_spec(_fields(config)).model_dump(), vocab_size=need(config, "vocab_size"))
    _check_all_used(model, tensors)
    embedding = _tensor(tensors, "model.shared.weight")
    model.to(embedding.dtype)
    interleaved = torch.arange(model.spec.dim).reshape(2, -1).T.flatten()
    for name, p in model.named_parameters():
        theirs = _reordered(name, _source(name, tensors), interleaved)
        if theirs.shape != p.shape:
            raise ValueError(f"source must give {name} the shape {tuple(p.shape)}, got {tuple(theirs.shape)}")
        p.copy_(theirs)
    return model.eval()


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("model_type") != "marian":
        raise ValueError(f"source must be of the model_type 'marian', got {config.get('model_type')!r}")
    if config.get("decoder_vocab_size") not in (None, config["vocab_size"]):
        raise ValueError(
            f"source must share one vocabulary, got {config['vocab_size']} and {config['decoder_vocab_size']} tokens"
        )
    activation = need(config, "activation_function")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation_function must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")

    def layers(side: str) -> list[dict[str, Any]]:
        hidden = {"hidden_dim": need(config, f"{side}_ffn_dim"), "activation": ACTIVATIONS[activation]}
        options = {"num_heads": need(config, f"{side}_attention_heads"), "bias": True}
        part = {"name": "attention", "options": {**options, "channel": {"name": "mlp", "options": hidden}}}
        return [part] * need(config, f"{side}_layers")

    return {
        "layers": layers("decoder"),
        "encoder": {
            "layers": layers("encoder"),
            "cross": {
                "name": "cross_attention",
                "options": {"num_heads": need(config, "decoder_attention_heads"), "bias": True},
            },
        },
        "dim": need(config, "d_model"),
        "positions": "sinusoidal",
        "norm": "layer_norm",
        "residual": "post",
        "embed": {"options": {"scaled": bool(config.get("scale_embedding"))}},
        "head": "linear(tied=true, bias=true)",
    }


TIED = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
COMPUTED = tuple(f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder"))
"""Tables of sinusoids, which ours computes instead."""


def _check_all_used(model: EncoderDecoder, tensors: Mapping[str, Tensor]) -> None:
    """Check that no stored tensor is left out.

    Raises:
        ValueError: for an embedding that differs from the shared one, or an unknown tensor.
    """
    for name in TIED:
        if name in tensors and not same(tensors[name], _tensor(tensors, "model.shared.weight")):
            raise ValueError(f"source has a {name!r} that is not 'model.shared.weight': ours share one")
    used = _Recorder(tensors)
    for name, _ in model.named_parameters():
        _source(name, used)
    unknown = sorted(set(tensors) - used.asked - {*TIED, *COMPUTED})
    if unknown:
        raise ValueError(f"source has {unknown[0]!r}, which a 'marian' model has no place for")


class _Recorder(Mapping[str, Tensor]):
    """Tensors by name that record which of them were accessed, in ``asked``."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors, self.asked = tensors, set[str]()

    def __getitem__(self, name: str) -> Tensor:
        self.asked.add(name)
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def _source(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the tensor of transformers for one of our parameters."""
    if name == "embed.weight":
        return _tensor(tensors, "model.shared.weight")
    if name == "head.bias":
        return _tensor(tensors, "final_logits_bias")[0]
    part, _, kind, *rest = name.split(".")
    side = "encoder" if part == "encoder" else "decoder"
    names = ["self_attn", "fc"] if side == "encoder" else ["self_attn", "encoder_attn", "fc"]
    number = int(rest[1] if kind == "residual" else rest[0])
    layer = f"model.{side}.layers.{number // len(names)}"
    part, leaf = names[number % len(names)], rest[-1]
    if kind == "residual":
        return _tensor(tensors, f"{layer}.{'final' if part == 'fc' else part}_layer_norm.{leaf}")
    if part == "fc":
        return _tensor(tensors, f"{layer}.fc{1 if rest[1] == 'up' else 2}.{leaf}")
    maps = {"kv": "kv", "q": "q", "k": "k", "v": "v"}.get(rest[1], ("out",))
    return torch.cat([_tensor(tensors, f"{layer}.{part}.{one}_proj.{leaf}") for one in maps])


def _reordered(name: str, tensor: Tensor, order: Tensor) -> Tensor:
    """Permute the channels of the residual stream in a parameter; heads and hidden units stay in their order."""
    kind, leaf = name.split(".")[-2:]
    if name == "head.bias" or (leaf == "bias" and kind in ("q", "k", "v", "kv", "up")):
        return tensor
    writes = leaf == "bias" or kind in ("out", "down") or tensor.dim() == 1
    return tensor[order] if writes else tensor[:, order]


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"source lacks {name!r}; it has {len(tensors)} tensors")
    return checked(tensors[name], name, "source")
