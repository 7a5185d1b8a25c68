"""Dense attention under the mask, and the cost of the blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.ops.attention.heads import score_scale
from anyformer.ops.masks import MaskSpec
from anyformer.ops.sparse_attention.shapes import band_shape, blocks_of, columns_of, rows_of
from anyformer.ops.sparse_attention.sides import Score, check_terms, scored, sides
from anyformer.ops.sparse_attention.tokens import num_global
from anyformer.precision import wide


def sparse_attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spec: MaskSpec,
    *,
    q_index: Tensor | None = None,
    k_index: Tensor | None = None,
    global_mask: Tensor | None = None,
    q_pos: Tensor | None = None,
    k_pos: Tensor | None = None,
    score: Score | None = None,
    places: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
    return_lse: bool = False,
) -> Any:
    """Dense attention under ``spec.dense(...)``. Arguments as in :func:`sparse_attention`."""
    q_side, k_side = sides(q, k, v, spec, q_index, k_index, global_mask, q_pos, k_pos)
    check_terms(q, k, score, places)
    q_side, k_side, score = scored(q, k, q_side, k_side, score, places)
    (B, H, T, K), S, dtype = q.shape, k.shape[2], wide(q.dtype)
    repeat = H // k.shape[1]
    keys, values = k.to(dtype).repeat_interleave(repeat, 1), v.to(dtype).repeat_interleave(repeat, 1)
    scores = torch.einsum("bhtk,bhsk->bhts", q.to(dtype), keys) * score_scale(scale, K)
    if score is not None:
        scores = score(scores, q, k, q_side.pos, k_side.pos)
    visible = spec.dense(q_side.number, k_side.number, k_side.is_global)[:, None]
    if S == 0:
        weights, lse = scores, scores.new_full((B, H, T), -torch.inf)
    else:
        scores = scores.masked_fill(~visible, -torch.inf)
        nothing = (scores == -torch.inf).all(-1, keepdim=True)
        scores = scores.masked_fill(nothing, 0.0)
        weights = scores.softmax(-1).masked_fill(nothing, 0.0)
        lse = scores.logsumexp(-1).masked_fill(nothing[..., 0], -torch.inf)
    # a hidden key contributes nothing, even where its value is NaN
    parts = (weights[..., None] * values[:, :, None]).masked_fill(~visible[..., None], 0.0)
    y = parts.sum(3).to(q.dtype)
    return (y, lse) if return_lse else y


def sparse_attention_flops(q: Tensor, k: Tensor, v: Tensor, spec: MaskSpec, **options: Any) -> int:
    """Return the FLOPs over all pairs in the executed blocks, hidden ones included."""
    (B, H, T, K), S, V = q.shape, k.shape[2], v.shape[3]
    global_mask = options.get("global_mask")
    ordered, pairs = options.get("q_index") is None, 0
    for product in spec.products():
        num, shape = num_global(global_mask, product), band_shape(product, T, S)
        if product.global_side:
            pairs += num * (T if product.global_side == "key" else S)
        elif product.columns is not None:
            pairs += T * product.columns.most(S)
        elif shape is not None:
            pairs += rows_of(product) * shape[0] * shape[1] * shape[2]
        elif product.step > 1:
            pairs += rows_of(product) * columns_of(T, product.step) * columns_of(S, product.step)
        elif B * H * T * S > 0:
            for start, stop, low, high in blocks_of(product, B * H, T, S, ordered):
                pairs += (stop - start) * (high - low)
    return 2 * B * H * pairs * (K + V)
