"""The ways to attend under a mask spec, in order of preference."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from anyformer.ops._gate import Path, Paths
from anyformer.ops.attention.heads import nothing_seen
from anyformer.ops.attention.spans import attend, refuses_spans
from anyformer.ops.attention.tiles import merge
from anyformer.ops.masks import MaskSpec
from anyformer.ops.sparse_attention.sides import Score, scored
from anyformer.ops.sparse_attention.stretches import refuses_spec, stretches
from anyformer.ops.sparse_attention.tiles import Outcome, Part, run_part
from anyformer.ops.sparse_attention.tokens import Side


class Asked(NamedTuple):
    """What is asked of queries and keys, as in :func:`sparse_attention`."""

    spec: MaskSpec
    q_side: Side
    k_side: Side
    ordered: bool
    score: Score | None
    places: tuple[Tensor, Tensor] | None
    scale: float
    return_lse: bool


def _refuses_native(q: Tensor, k: Tensor, v: Tensor, asked: Asked) -> str | None:
    if asked.score is not None:
        return "it calls no function of the scores"
    why = refuses_spans(q, k, v)
    return refuses_spec(asked.spec) if why is None else why


def _native(q: Tensor, k: Tensor, v: Tensor, asked: Asked) -> Any:
    rows = stretches(asked.spec, asked.q_side, asked.k_side, asked.ordered)
    y, lse = attend(q, k, v, *rows, places=asked.places, scale=asked.scale)
    return (y, lse) if asked.return_lse else y


def _refuses_fused(q: Tensor, k: Tensor, v: Tensor, asked: Asked) -> str | None:
    if not q.is_cuda:
        return "it is for CUDA"
    if len(asked.spec.products()) > 1 or asked.return_lse:
        return "it gives no log-sum-exp, by which several patterns would be merged"
    return None if asked.score is None and asked.places is None else "it calls no function of the scores"


def _fused(q: Tensor, k: Tensor, v: Tensor, asked: Asked) -> Any:
    found = _parts(q, k, v, asked, fused=True)
    return found[0][0] if found else nothing_seen(q, k, v)


def _blocks(q: Tensor, k: Tensor, v: Tensor, asked: Asked) -> Any:
    found = _parts(q, k, v, asked, fused=False)
    if not found:
        return nothing_seen(q, k, v, asked.return_lse)
    y, lse = merge(found)  # type: ignore[arg-type]
    return (y, lse) if asked.return_lse else y


def _parts(q: Tensor, k: Tensor, v: Tensor, asked: Asked, fused: bool) -> list[Outcome]:
    q_side, k_side, score = scored(q, k, asked.q_side, asked.k_side, asked.score, asked.places)
    products, found = asked.spec.products(), []
    for n, product in enumerate(products):
        part = Part(product, products[:n], asked.ordered, score, asked.scale, fused)
        result = run_part(part, q, k, v, q_side, k_side)
        if result is not None:
            found.append(result)
    return found


PATHS = Paths(
    "sparse_attention",
    Path("native", "in C, one pass over each query's stretch of the keys", _native, _refuses_native),
    Path("fused blocks", "blocks of neighbours through PyTorch's fused kernel", _fused, _refuses_fused),
    Path("blocks", "blocks of queries with their reachable keys, as batched matrix products", _blocks),
)
