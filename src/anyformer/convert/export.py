"""Export of layers to PyTorch's own modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.channels.mlp import MLP
from anyformer.mixers.softmax.attention import Attention
from anyformer.mixers.softmax.cross_attention import CrossAttention
from anyformer.stack import Stack


@torch.no_grad()
def export_layer(stack: Stack, layer: int, into: nn.Module) -> None:
    """Copy the weights of a post-norm layer into PyTorch's own module.

    Args:
        stack: post-norm layers of attention (in a decoder also cross-attention) and an MLP, as in the model
            ``encoder_decoder``: attention without biases, with as many key/value heads as query heads, and with no
            positions but sinusoids.
        layer: number of the layer in the stack.
        into: :class:`torch.nn.TransformerEncoderLayer`, or :class:`torch.nn.TransformerDecoderLayer` for a decoder.
            Biases that the stack does not have become zero.

    Raises:
        ValueError: if the layer has other parts, or ``into`` has other sizes.
    """
    wide = any(isinstance(part, CrossAttention) for part in stack.sublayers)
    kinds = (Attention, CrossAttention, MLP) if wide else (Attention, MLP)
    first = layer * len(kinds)
    parts, norms = (list(x)[first : first + len(kinds)] for x in (stack.sublayers, stack.residual.norms))
    if [type(part) for part in parts] != list(kinds):
        raise ValueError(
            f"stack must have attention and mlp at layer {layer}, got {[type(p).__name__ for p in parts]}"
        )
    found: dict[str, Tensor] = {}
    for module, part in zip(("self_attn", "multihead_attn"), parts[:-1]):
        *qkv, out = _attention(part)
        found |= {f"{module}.in_proj_weight": torch.cat(qkv), f"{module}.out_proj.weight": out}
    for name, linear in zip(("linear1", "linear2"), ("up", "down")):
        found |= {f"{name}.{key}": p for key, p in parts[-1].get_submodule(linear).named_parameters()}
    for i, norm in enumerate(norms):
        found |= {f"norm{i + 1}.{key}": p for key, p in norm.named_parameters()}
    _load(into, found)


def _attention(part: Any) -> list[Tensor]:
    """Return the matrices of queries, keys, values and output."""
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
