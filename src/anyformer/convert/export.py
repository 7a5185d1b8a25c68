"""Layers of ours into those of other libraries."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anyformer.blocks.stack import Stack
from anyformer.channels.mlp import MLP
from anyformer.mixers.attention import Attention
from anyformer.mixers.cross_attention import CrossAttention
from anyformer.registry import nearest


class Names(NamedTuple):
    """What a library calls the parts of a post-norm layer.

    Attributes:
        self_attention, cross_attention: the modules.
        maps: inside each, the maps to queries, keys and values and the output's; without ``fused``.
        fused: inside each, one matrix for queries, keys and values, where there is one.
        network: the two maps of the feed-forward network.
        norms: behind self-attention, cross-attention and the network.
    """

    self_attention: str
    cross_attention: str
    maps: tuple[str, str, str, str]
    network: tuple[str, str]
    norms: tuple[str, str, str]
    fused: str = ""


LIBRARIES = {
    "torch": Names(
        "self_attn",
        "multihead_attn",
        ("", "", "", "out_proj"),
        ("linear1", "linear2"),
        ("norm1", "norm2", "norm3"),
        "in_proj_weight",
    ),
    "marian": Names(
        "self_attn",
        "encoder_attn",
        ("q_proj", "k_proj", "v_proj", "out_proj"),
        ("fc1", "fc2"),
        ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
    ),
}


@torch.no_grad()
def export_layer(stack: Stack, layer: int, into: nn.Module, library: str) -> None:
    """Copy a post-norm layer of attention (cross-attention too, in a decoder) and an MLP into another library's.

    Args:
        stack: of such layers, as in the model ``encoder_decoder``; attention without biases, as many key/value as
            query heads, and nothing but sinusoids for positions.
        layer: its number.
        into: ``torch.nn.TransformerEncoderLayer`` or its decoder's, or Marian's in transformers. It gets the weights;
            biases that we do not have become zero.
        library: ``torch`` or ``marian``.

    Raises:
        ValueError: for another library, a layer of other parts, or one of other sizes.
    """
    if library not in LIBRARIES:
        raise ValueError(f"unknown library {library!r}{nearest(library, list(LIBRARIES))}")
    names = LIBRARIES[library]
    wide = any(isinstance(part, CrossAttention) for part in stack.sublayers)
    kinds = (Attention, CrossAttention, MLP) if wide else (Attention, MLP)
    first = layer * len(kinds)
    parts, norms = (list(x)[first : first + len(kinds)] for x in (stack.sublayers, stack.residual.norms))
    if [type(part) for part in parts] != list(kinds):
        raise ValueError(
            f"stack must have attention and mlp at layer {layer}, got {[type(p).__name__ for p in parts]}"
        )
    found: dict[str, Tensor] = {}
    for part in parts[:-1]:
        module = names.self_attention if isinstance(part, Attention) else names.cross_attention
        weights = _attention(part)
        if names.fused:
            found[f"{module}.{names.fused}"] = torch.cat(weights[:3])
        found |= {f"{module}.{name}.weight": w for name, w in zip(names.maps, weights) if name}
    for name, linear in zip(names.network, ("up", "down")):
        found |= {f"{name}.{key}": p for key, p in parts[-1].get_submodule(linear).named_parameters()}
    ends = names.norms if wide or library == "torch" else (names.norms[0], names.norms[2])
    for name, norm in zip(ends, norms):
        found |= {f"{name}.{key}": p for key, p in norm.named_parameters()}
    _load(into, found)


def _attention(part: Any) -> list[Tensor]:
    """Matrices of queries, keys, values and output."""
    if isinstance(part, CrossAttention):
        return [part.q.weight, *part.kv.weight.chunk(2), part.out.weight]
    return [part.q.weight, part.k.weight, part.v.weight, part.out.weight]


def _load(into: nn.Module, found: dict[str, Tensor]) -> None:
    own = dict(into.named_parameters())
    unknown = sorted(set(found) - set(own))
    if unknown:
        raise ValueError(f"into must have {', '.join(map(repr, unknown[:3]))}, got {type(into).__name__}")
    for name, p in own.items():
        if name in found and found[name].shape != p.shape:
            raise ValueError(f"into.{name} must have shape {tuple(found[name].shape)}, got {tuple(p.shape)}")
        if name not in found and not name.endswith("bias"):
            raise ValueError(f"into has {name!r}, for which the layer has nothing")
        p.copy_(found.get(name, torch.zeros_like(p)))
