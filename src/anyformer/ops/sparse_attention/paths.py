"""The paths of attention under a mask spec, in order of preference."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from anyformer.ops._gate import Path, Paths
from anyformer.ops.attention.heads import nothing_seen
from anyformer.ops.attention.spans import attend, refuses_spans
from anyformer.ops.attention.tiles import merge
from anyformer.ops.masks import MaskSpec
from anyformer.ops.sparse_attention.sides import Score, scored
from anyformer.ops.sparse_attention.spans import refuses_spec, rows_and_spans
from anyformer.ops.sparse_attention.tiles import MaskedProduct, Outcome, run_product
from anyformer.ops.sparse_attention.tokens import Side


class SparseTerms(NamedTuple):
    """The arguments of :func:`sparse_attention` other than q, k and v."""

    spec: MaskSpec
    q_side: Side
    k_side: Side
    ordered: bool
    score: Score | None
    places: tuple[Tensor, Tensor] | None
    scale: float
    return_lse: bool


def _refuses_native(q: Tensor, k: Tensor, v: Tensor, terms: SparseTerms) -> str | None:
    if terms.score is not None:
        return "it does not support a score function"
    why = refuses_spans(q, k, v)
    return refuses_spec(terms.spec) if why is None else why


def _native(q: Tensor, k: Tensor, v: Tensor, terms: SparseTerms) -> Any:
    rows = rows_and_spans(terms.spec, terms.q_side, terms.k_side, terms.ordered)
    y, lse = attend(q, k, v, *rows, places=terms.places, scale=terms.scale)
    return (y, lse) if terms.return_lse else y


def _refuses_fused(q: Tensor, k: Tensor, v: Tensor, terms: SparseTerms) -> str | None:
    if not q.is_cuda:
        return "for CUDA only"
    if len(terms.spec.products()) > 1 or terms.return_lse:
        return "no log-sum-exp to return or to merge several products by"
    return (
        None
        if terms.score is None and terms.places is None
        else "it supports neither a score function nor places"
    )


def _fused(q: Tensor, k: Tensor, v: Tensor, terms: SparseTerms) -> Any:
    found = _parts(q, k, v, terms, fused=True)
    return found[0][0] if found else nothing_seen(q, k, v)


def _blocks(q: Tensor, k: Tensor, v: Tensor, terms: SparseTerms) -> Any:
    found = _parts(q, k, v, terms, fused=False)
    if not found:
        return nothing_seen(q, k, v, terms.return_lse)
    y, lse = merge(found)  # type: ignore[arg-type]
    return (y, lse) if terms.return_lse else y


def _parts(q: Tensor, k: Tensor, v: Tensor, terms: SparseTerms, fused: bool) -> list[Outcome]:
    q_side, k_side, score = scored(q, k, terms.q_side, terms.k_side, terms.score, terms.places)
    products, found = terms.spec.products(), []
    for n, product in enumerate(products):
        part = MaskedProduct(product, products[:n], terms.ordered, score, terms.scale, fused)
        result = run_product(part, q, k, v, q_side, k_side)
        if result is not None:
            found.append(result)
    return found


PATHS = Paths(
    "sparse_attention",
    Path("native", "in C, one pass over each query's span of the keys", _native, _refuses_native),
    Path("fused blocks", "blocks of neighbours through PyTorch's fused kernel", _fused, _refuses_fused),
    Path("blocks", "blocks of queries with the keys in their reach, as batched matrix products", _blocks),
)
