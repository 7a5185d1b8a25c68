"""Softmax attention among tokens of the same bucket, every pair of them and no other.

y_i = sum_j softmax_j(scale * q_i . k_j) v_j over the keys with bucket_j = bucket_i and, causally, index_j <= index_i

Keys are sorted by bucket and index, so that each query sees one span of them (Pagliardini 2023, section 3). Buckets
come from :mod:`anyformer.ops.select`. Tokens of bucket -1 are dropped: with one bucket for all others this is the
paper's QK-sparse attention, with hashes for buckets its Hash-sparse attention.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops._base import Spread, primitive
from anyformer.ops._gate import Path, Paths
from anyformer.ops.attention import attention, attention_definition, recomputed
from anyformer.ops.attention.heads import check_heads, nothing_seen, score_scale
from anyformer.ops.attention.spans import attend, refuses_spans
from anyformer.ops.attention.tiles import NORMALIZERS, TILE_ELEMENTS
from anyformer.precision import no_autocast, wide

TILE = 64
"""Queries and keys of a tile."""


def bucket_attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_bucket: Tensor,
    k_bucket: Tensor,
    *,
    q_index: Tensor | None = None,
    k_index: Tensor | None = None,
    causal: bool = False,
    strict: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Dense attention under the mask. Arguments as in :func:`bucket_attention`."""
    q_index, k_index = _check(q, k, v, q_bucket, k_bucket, q_index, k_index)
    visible = (q_bucket[..., :, None] == k_bucket[..., None, :]) & (q_bucket >= 0)[..., None]
    if causal:
        age = q_index[..., :, None] - k_index[..., None, :]
        visible = visible & (age > 0 if strict else age >= 0)
    y: Tensor = attention_definition(q, k, v, visible=visible, scale=scale)
    return y


def _flops(q: Tensor, k: Tensor, v: Tensor, q_bucket: Tensor, k_bucket: Tensor, **options: object) -> int:
    options.pop("scale", None)
    found = key_spans(q_bucket, k_bucket, **options)  # type: ignore[arg-type]
    return 2 * int((found.stop - found.start).sum()) * (q.shape[3] + v.shape[3])


SPREAD = Spread(
    (1, 2),
    "tiles of keys are multiplied for all heads that share them, hidden ones by zero, and zero times NaN is NaN",
)


@primitive("bucket_attention", definition=bucket_attention_definition, flops=_flops, spread=SPREAD)
def bucket_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_bucket: Tensor,
    k_bucket: Tensor,
    *,
    q_index: Tensor | None = None,
    k_index: Tensor | None = None,
    causal: bool = False,
    strict: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Exact attention within buckets; time T log T plus the pairs within buckets, memory linear in T and S.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V), H a multiple of G.
        q_bucket: (B, H, T) int64, k_bucket: (B, H, S): -1 = dropped.
        q_index, k_index: (B, H, T) and (B, H, S) int64, the number of each token, in any order; by default keys are
            numbered 0 .. S - 1 and the last query has the last key's number.
        causal: no query sees a key of a higher number; with ``strict``, nor one of the same number.
        scale: of the scores; 1 / sqrt(K) by default.

    Returns:
        y (B, H, T, V) in q's dtype, zeros for a query that is dropped or sees nothing.

    Raises:
        ValueError: for shapes that don't fit.
    """
    q_index, k_index = _check(q, k, v, q_bucket, k_bucket, q_index, k_index)
    (B, H, T, K), S = q.shape, k.shape[2]
    if B * T * S == 0:
        return nothing_seen(q, k, v)
    scale = score_scale(scale, K)
    found = key_spans(q_bucket, k_bucket, q_index=q_index, k_index=k_index, causal=causal, strict=strict)
    keys, values = (t.repeat_interleave(H // t.shape[1], 1) for t in (k, v))
    keys, values = (
        t.gather(2, found.order[..., None].expand_as(t)).flatten(0, 1)[:, None] for t in (keys, values)
    )
    queries = q.flatten(0, 1)[:, None]
    start, stop = found.start.flatten(0, 1), found.stop.flatten(0, 1)
    y: Tensor = _PATHS(queries, keys, values, start, stop, scale)
    return y[:, 0].unflatten(0, (B, H))


def _native(q: Tensor, k: Tensor, v: Tensor, start: Tensor, stop: Tensor, scale: float) -> Tensor:
    spans = torch.stack([start, stop, torch.zeros_like(start), torch.zeros_like(start)], -1).int()
    return attend(q, k, v, spans, scale=scale)[0]


def _masked(q: Tensor, k: Tensor, v: Tensor, start: Tensor, stop: Tensor, scale: float) -> Tensor:
    place = torch.arange(k.shape[2], device=q.device)
    visible = (place >= start[..., None]) & (place < stop[..., None])
    y: Tensor = attention(q, k, v, visible=visible[:, None], scale=scale)
    return y


def _refuses_masked(*_: object) -> str | None:
    return (
        None
        if torch.compiler.is_compiling()
        else "only for torch.compile, which cannot trace a number of tiles"
    )


def _tiles(q: Tensor, k: Tensor, v: Tensor, start: Tensor, stop: Tensor, scale: float) -> Tensor:
    return _by_tiles(q[:, 0], k[:, 0], v[:, 0], start, stop, scale)[:, None]


_PATHS = Paths(
    "bucket_attention",
    Path(
        "native",
        "in C, over each query's span of the sorted keys",
        _native,
        lambda *args: refuses_spans(*args[:3]),
    ),
    Path("mask", "dense attention under the mask, while compiling", _masked, _refuses_masked),
    Path("tiles", "pairs of tiles whose buckets overlap, as batched matrix products", _tiles),
)


class KeySpans(NamedTuple):
    """Keys sorted by bucket and index, and the span of them that each query sees."""

    order: Tensor  # (B, H, S): the key at each sorted position
    start: Tensor  # (B, H, T)
    stop: Tensor  # (B, H, T)


def key_spans(
    q_bucket: Tensor,
    k_bucket: Tensor,
    *,
    q_index: Tensor | None = None,
    k_index: Tensor | None = None,
    causal: bool = False,
    strict: bool = False,
) -> KeySpans:
    """Sort keys by bucket and index. Arguments as in :func:`bucket_attention`."""
    q_index, k_index = _numbers(q_bucket, k_bucket, q_index, k_index)
    count = pad(torch.cat((q_index.flatten(), k_index.flatten())), (0, 1)).amax() + 1
    dropped = torch.iinfo(torch.int64).max
    code = torch.where(k_bucket < 0, dropped, k_bucket * count + k_index).contiguous()
    code, order = code.sort(dim=-1, stable=True)
    bucket = q_bucket.clamp_min(0).contiguous()
    start = torch.searchsorted(code, bucket * count)
    last = bucket * count + q_index if causal else (bucket + 1) * count - 1
    stop = torch.searchsorted(code, last, right=not (causal and strict))
    return KeySpans(order, start, torch.where(q_bucket < 0, start, stop))


def visited_tiles(start: Tensor, stop: Tensor, keys: int, tile: int = TILE) -> Tensor:
    """Return the tile pairs that contain visible pairs, and those between them, (N, query tiles, key tiles) bool.

    Args:
        start, stop: (N, T), the spans of the queries, which are sorted by them.
        keys: number of keys S.
    """
    empty = start >= stop
    missing = -start.shape[1] % tile
    low = pad(start.masked_fill(empty, keys), (0, missing), value=keys).unflatten(1, (-1, tile)).amin(-1)
    high = pad(stop.masked_fill(empty, 0), (0, missing)).unflatten(1, (-1, tile)).amax(-1)
    first = torch.arange(-(-keys // tile), device=start.device) * tile
    return (first + tile > low[..., None]) & (first < high[..., None])


def _by_tiles(q: Tensor, k: Tensor, v: Tensor, start: Tensor, stop: Tensor, scale: float) -> Tensor:
    """Attend from q (N, T, K) to sorted k (N, S, K) and v (N, S, V), all visited tile pairs as one batch."""
    (N, T), (S, V) = q.shape[:2], v.shape[1:]
    # sorted like the keys, queries of a tile see neighbouring spans; those that see nothing come last
    order = torch.where(start < stop, start * (S + 1) + stop, torch.iinfo(torch.int64).max).argsort(1)
    start, stop = start.gather(1, order), stop.gather(1, order)
    q = q.gather(1, order[..., None].expand_as(q))
    row, q_tile, k_tile = visited_tiles(start, stop, S, TILE).nonzero(as_tuple=True)
    tiles = [pad(t, (0, 0, 0, -t.shape[1] % TILE)).unflatten(1, (-1, TILE)) for t in (q, k, v)]
    bounds = [pad(t, (0, -T % TILE)).unflatten(1, (-1, TILE)) for t in (start, stop)]
    number = row * tiles[0].shape[1] + q_tile  # the tile of queries of each pair
    size = max(1, TILE_ELEMENTS // TILE**2)

    def block(
        q: Tensor, k: Tensor, v: Tensor, row: Tensor, q_tile: Tensor, k_tile: Tensor
    ) -> tuple[Tensor, Tensor]:
        place = (k_tile * TILE)[:, None, None] + torch.arange(TILE, device=q.device)
        low, high = (t[row, q_tile][..., None] for t in bounds)
        dtype = wide(q.dtype)
        with no_autocast(q):
            scores = (q[row, q_tile].to(dtype) * scale) @ k[row, k_tile].to(dtype).mT
            scores = scores.masked_fill((place < low) | (place >= high), -torch.inf)
            weights, total, lse = NORMALIZERS["softmax"](scores)
            assert total is not None and lse is not None
            return weights @ v[row, k_tile].to(dtype) / total, lse

    pieces = zip(*(t.split(size) for t in (row, q_tile, k_tile)), strict=True)
    done = [recomputed(block, *tiles, *piece) for piece in pieces]
    y, lse = torch.cat([y for y, _ in done]), torch.cat([lse for _, lse in done])
    y = _merge(y, lse, number, N * tiles[0].shape[1]).reshape(N, -1, V)[:, :T].to(q.dtype)
    return torch.zeros_like(y).scatter(1, order[..., None].expand_as(y), y)


def _merge(y: Tensor, lse: Tensor, number: Tensor, count: int) -> Tensor:
    """Merge partial softmaxes y (P, C, V) by group into (count, C, V), as :func:`~anyformer.ops.attention.merge`."""
    P, C, V = y.shape
    top = torch.full((count, C), -torch.inf, dtype=lse.dtype, device=lse.device)
    top = top.scatter_reduce(0, number[:, None].expand(P, C), lse.detach(), "amax")
    top = torch.where(top == -torch.inf, 0.0, top)
    weight = (lse - top[number]).exp()
    total = torch.zeros_like(top).index_add(0, number, weight)
    total = torch.where(total == 0, 1.0, total)
    whole = torch.zeros(count, C, V, dtype=y.dtype, device=y.device)
    return whole.index_add(0, number, weight[..., None] * y) / total[..., None]


def _numbers(
    q_bucket: Tensor, k_bucket: Tensor, q_index: Tensor | None, k_index: Tensor | None
) -> tuple[Tensor, Tensor]:
    T, S = q_bucket.shape[-1], k_bucket.shape[-1]
    if q_index is None or k_index is None:
        k_index = torch.arange(S, device=k_bucket.device).expand_as(k_bucket)
        q_index = torch.arange(S - T, S, device=q_bucket.device).expand_as(q_bucket)
    return q_index, k_index


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_bucket: Tensor,
    k_bucket: Tensor,
    q_index: Tensor | None,
    k_index: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Check the arguments; return the numbers of queries and keys."""
    check_heads(q, k, v)
    (B, H, T, _), S = q.shape, k.shape[2]
    if (q_index is None) != (k_index is None):
        raise ValueError("q_index and k_index must be given together")
    if q_index is None and T > S:
        raise ValueError(f"without q_index there must be at least as many keys as queries, got {S} and {T}")
    given = {
        "q_bucket": (q_bucket, T),
        "k_bucket": (k_bucket, S),
        "q_index": (q_index, T),
        "k_index": (k_index, S),
    }
    for name, (x, length) in given.items():
        if x is not None and (tuple(x.shape) != (B, H, length) or x.dtype != torch.int64):
            raise ValueError(
                f"{name} must be int64 of shape {(B, H, length)}, got {tuple(x.shape)} {x.dtype}"
            )
    return _numbers(q_bucket, k_bucket, q_index, k_index)
