"""Softmax attention of each query over a list of keys of its own.

y_i = sum_n softmax_n(scale * q_i . k_slots[i, n]) v_slots[i, n]

The lists come from :mod:`anyformer.ops.select` (the best keys, pages, clusters) or from a tree of summaries.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.ops._base import Path, primitive
from anyformer.ops._precision import no_autocast, wide
from anyformer.ops.attention import NORMALIZERS, TILE_ELEMENTS, check_heads, recomputed


def gathered_attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slots: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """The formula, one query at a time. Arguments as in :func:`gathered_attention`."""
    slots = _check(q, k, v, slots, bias)
    (B, H, T, K), V = q.shape, v.shape[3]
    dtype, repeat = wide(q.dtype), H // k.shape[1]
    keys, values = (t.to(dtype).repeat_interleave(repeat, 1) for t in (k, v))
    scale = K**-0.5 if scale is None else scale
    outputs = []
    for t in range(T):
        at = slots[:, :, t].clamp_min(0)[..., None]
        chosen = keys.gather(2, at.expand(-1, -1, -1, K))
        scores = (chosen * q[:, :, t, None].to(dtype)).sum(-1) * scale
        if bias is not None:
            scores = scores + bias[:, :, t].to(dtype)
        scores = scores.masked_fill(slots[:, :, t] < 0, -torch.inf)
        nothing = ~(scores > -torch.inf).any(-1, keepdim=True)
        weights = scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)
        outputs.append((weights[..., None] * values.gather(2, at.expand(-1, -1, -1, V))).sum(2))
    return torch.stack(outputs, 2).to(q.dtype) if T else q.new_zeros(B, H, 0, V)


def _flops(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, **_: Any) -> int:
    B, H, T, K = q.shape
    return 2 * B * H * T * slots.shape[3] * (K + v.shape[3])


PATH = Path("pytorch gather", "blocks of queries with the keys of their lists, recomputed in the backward")


@primitive("gathered_attention", definition=gathered_attention_definition, flops=_flops, path=PATH)
def gathered_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slots: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of each query over its own N keys; time and memory T * N, whatever the number of keys.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V), H a multiple of G.
        slots: (B, H, T, N) int64, or 1 in the place of B and H: which keys each query sees, -1 = none. A key that
            stands in a list twice counts twice.
        bias: (B, H, T, N), or broadcastable to it: added to the scaled scores.
        scale: of the scores; 1 / sqrt(K) by default.

    Returns:
        y (B, H, T, V) in q's dtype; a query whose list is empty gets zeros.

    Raises:
        ValueError: for shapes that don't fit, and slots past the last key.
    """
    slots = _check(q, k, v, slots, bias)
    (B, H, T, K), S, (N, V) = q.shape, k.shape[2], (slots.shape[3], v.shape[3])
    scale = K**-0.5 if scale is None else scale
    if B * T * N * S == 0:
        return q.new_zeros(B, H, T, V)
    rows = max(1, TILE_ELEMENTS // (B * H * N * max(K, V)))
    terms = None if bias is None else bias.expand(B, H, T, N)
    if rows >= T:
        return _tile(q, k, v, slots, terms, scale)
    parts = []
    for start in range(0, T, rows):
        at = slice(start, start + rows)
        some = None if terms is None else terms[:, :, at]
        parts.append(recomputed(_tile, q[:, :, at], k, v, slots[:, :, at], some, scale))
    return torch.cat(parts, 2)


def _tile(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Tensor | None, scale: float) -> Tensor:
    """Some queries with their lists."""
    (B, H, T, K), (_, G, S, V), N = q.shape, v.shape, slots.shape[3]
    first = torch.arange(B * G, device=q.device).reshape(B, G).repeat_interleave(H // G, 1) * S
    at, dtype, shape = (slots.clamp_min(0) + first[..., None, None]).flatten(), wide(q.dtype), (B, H, T, N)
    with no_autocast(q):
        chosen = k.reshape(B * G * S, K).index_select(0, at).reshape(*shape, K).to(dtype)
        scores = (chosen @ (q.to(dtype) * scale)[..., None])[..., 0]
        if terms is not None:
            scores = scores + terms.to(dtype)
        weights, total, _ = NORMALIZERS["softmax"](scores.masked_fill(slots < 0, -torch.inf))
        assert total is not None
        values = v.reshape(B * G * S, V).index_select(0, at).reshape(*shape, V).to(dtype)
        y = (weights[..., None, :] @ values)[..., 0, :] / total
    return y.to(q.dtype)


def _check(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, bias: Tensor | None) -> Tensor:
    """slots, expanded to (B, H, T, N)."""
    check_heads(q, k, v)
    (B, H, T, _), S = q.shape, k.shape[2]
    fits = slots.dim() == 4 and slots.shape[0] in (1, B) and slots.shape[1] in (1, H) and slots.shape[2] == T
    if not fits or slots.dtype != torch.int64:
        raise ValueError(
            f"slots must be int64 of shape ({B}, {H}, {T}, keys), got {tuple(slots.shape)} {slots.dtype}"
        )
    if not torch.compiler.is_compiling() and slots.numel() and int(slots.max()) >= S:
        raise ValueError(f"slots must be below the number of keys, {S}, got {int(slots.max())}")
    shape = (B, H, T, slots.shape[3])
    if bias is not None and (bias.dim() != 4 or any(a not in (1, b) for a, b in zip(bias.shape, shape))):
        raise ValueError(f"bias must be broadcastable to {shape}, got {tuple(bias.shape)}")
    return slots.expand(B, H, -1, -1)
