"""Attention of the softmax family, and the merging of partial softmaxes.

s_ij = scale * q_i . k_j + bias_ij        p_i = normalizer(s_i over the visible j)        y_i = sum_j p_ij v_j
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops.attention.definition import attention_definition, attention_flops, check
from anyformer.ops.attention.heads import nothing_seen
from anyformer.ops.attention.paths import PATHS, Terms
from anyformer.ops.attention.spans import can_attend
from anyformer.ops.attention.tiles import Score, Weigh, attend_tile, distance, merge, recomputed

__all__ = [
    "Score",
    "Weigh",
    "attend_tile",
    "attention",
    "attention_definition",
    "attention_flops",
    "can_attend",
    "distance",
    "merge",
    "recomputed",
]


@primitive("attention", definition=attention_definition, flops=attention_flops, spread=ALONG_TIME)
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    visible: Tensor | None = None,
    bias: Tensor | None = None,
    places: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
    score: Score | None = None,
    normalizer: str = "softmax",
    weigh: Weigh | None = None,
    return_lse: bool = False,
) -> Any:
    """Dense attention; time T*S, memory linear in T and S.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V). H must be a multiple of G: heads share keys and values in groups.
        causal: the last query is aligned with the last key and no query sees a later key; needs S >= T.
        visible: bool, broadcastable to (B, H, T, S), True = may see.
        bias: float, broadcastable to (B, H, T, S), added to the scaled scores.
        places: float64 (or float32 where the device has no other), (B, H, T) of the queries and (B, H, S) of the
            keys, or broadcastable to them: |place_i - place_j| is taken from the scaled scores.
        scale: of the scores; 1 / sqrt(K) by default.
        score: an elementwise function of the final scores (bias and places included). It is called on tiles.
        normalizer: ``"softmax"`` (arXiv 1706.03762); ``"softmax_one"`` (softmax with one more, empty, key of score
            0); or of each score alone, ``"sigmoid"`` (arXiv 2409.04431), ``"laplace"`` (a normal distribution function,
            arXiv 2209.10655, eq. 16) and ``"silu"`` (s * sigmoid(s), arXiv 2402.17152, eq. 2).
        weigh: ``weigh(p, start) -> (weights, more)`` turns the probabilities p (B, H, C, S') of C queries, the first of
            index ``start``, over the first S' keys into the weights of the values, and may add ``more`` (B, H, C, V) to
            the outputs. It is called on tiles.
        return_lse: also return the log-sum-exp of each query's scores (softmax only), for :func:`merge`.

    Returns:
        y (B, H, T, V) in q's dtype, or (y, lse) with lse (B, H, T) in at least float32. A query that sees
        nothing gets zeros and -inf.

    Raises:
        ValueError: for shapes that don't fit and unknown normalisers.
    """
    check(q, k, v, causal, visible, bias, places, normalizer, return_lse)
    (B, H, T, _), S = q.shape, k.shape[2]
    if T * S * B == 0:
        return nothing_seen(q, k, v, return_lse)
    if places is not None:
        places = places[0].expand(B, H, T), places[1].expand(B, H, S)
    if visible is not None or bias is not None:
        visible, bias = _four_axes(visible), _four_axes(bias)
    terms = Terms(causal, visible, bias, places, scale, score, normalizer, weigh, return_lse)
    return PATHS(q, k, v, terms)


def _four_axes(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.reshape((1,) * (4 - x.dim()) + x.shape)
