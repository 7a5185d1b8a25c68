"""Attention over the visible pairs of a mask spec, by blocks.

A spec is a union of products (:meth:`MaskSpec.products`). Each product is executed by the cheapest of these
forms, on the pairs that are in no earlier product, and the partial softmaxes are merged:

    band    -future <= i - j <= past: queries in blocks of C neighbours, each with the C + past + future keys
            that they can reach. With a step, tokens of equal i mod step are neighbours; of one residue, if only
            those see each other.
    classes a step without bounds: tokens of equal i mod step are sequences of their own
    few     the global tokens, or the keys in some columns, are gathered: all queries against few keys, or few
            queries against all keys
    dense   all queries, in blocks, against the keys within the block's reach, or against all keys where they are in
            no known order

On the CPU a native kernel does it in one pass, where each query sees a span of the keys and some global ones, and there
is no ``score``. On CUDA tiles of a single product go through PyTorch's fused attention.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops.attention.heads import nothing_seen, score_scale
from anyformer.ops.masks import MaskSpec
from anyformer.ops.sparse_attention.definition import sparse_attention_definition, sparse_attention_flops
from anyformer.ops.sparse_attention.paths import PATHS, SparseTerms
from anyformer.ops.sparse_attention.sides import Score, check_terms, sides

__all__ = ["sparse_attention", "sparse_attention_definition", "sparse_attention_flops"]


@primitive(
    "sparse_attention",
    definition=sparse_attention_definition,
    flops=sparse_attention_flops,
    spread=ALONG_TIME,
)
def sparse_attention(
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
    """Softmax attention over the visible pairs of ``spec``.

    Time and memory, forward and backward, are linear in T for bounded bands and few global tokens.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V), H a multiple of G.
        spec: a :class:`~anyformer.ops.masks.MaskSpec`.
        q_index: (B, T) int, the token number of each query, -1 = none; in any order, but the numbers of a sample must
            be consecutive. By default the last query has the last key's number.
        k_index: (B, S) int, likewise for keys; 0 .. S - 1 by default.
        global_mask: (B, S) bool, the keys that are global tokens.
        q_pos, k_pos: (B, T, ...) and (B, S, ...), positions for ``score``; the indices by default.
        score: ``score(s, q, k, q_pos, k_pos) -> s`` changes scaled scores. It is called on tiles: s (N, H, C, S'),
            q (N, H, C, K), k (N, G, S', K), q_pos (N, C, ...), k_pos (N, S', ...).
        places: instead of ``score``, as in :func:`~anyformer.ops.attention.attention`: |q_place_i - k_place_j| is
            taken from the scores.
        scale: of the scores; 1 / sqrt(K) by default.
        return_lse: also return the log-sum-exp of each query's scores, for :func:`~anyformer.ops.attention.merge`.

    Returns:
        y (B, H, T, V) in q's dtype, or (y, lse) with lse (B, H, T). A query of number -1, or that sees no key,
        gets zeros and -inf.

    Raises:
        ValueError: for shapes that don't fit, numbers that are not consecutive, too many global tokens.
    """
    q_side, k_side = sides(q, k, v, spec, q_index, k_index, global_mask, q_pos, k_pos)
    check_terms(q, k, score, places)
    if q.shape[0] * q.shape[2] * k.shape[2] == 0:
        return nothing_seen(q, k, v, return_lse)
    scale = score_scale(scale, q.shape[3])
    return PATHS(
        q, k, v, SparseTerms(spec, q_side, k_side, q_index is None, score, places, scale, return_lse)
    )
