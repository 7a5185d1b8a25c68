"""Attention over the pairs that a mask spec leaves, by blocks.

A spec is a union of products (:meth:`MaskSpec.products`). Each product is executed by the cheapest of these
forms, on the pairs that no earlier product had, and the partial softmaxes are merged:

    band    -future <= i - j <= past: queries in blocks of C neighbours, each with the C + past + future keys
            that they can reach. With a step, tokens of equal i mod step are neighbours; of one residue, if only
            those see each other.
    classes a step without bounds: tokens of equal i mod step are sequences of their own
    few     the global tokens, or the keys in some columns, are gathered: all queries against few keys, or few
            queries against all keys
    dense   neither: all queries, in blocks, against the keys that the block can reach, or all keys where these
            come in no known order

On the CPU a native kernel does it in one pass, where each query sees a stretch of the keys and some global ones, and
no ``score`` changes the scores. On CUDA tiles of a single product go through PyTorch's fused attention.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer.ops._attend import attend, can_attend, nothing_seen, score_scale
from anyformer.ops._base import ALONG_TIME, native_path, primitive
from anyformer.ops._stretches import stretches
from anyformer.ops._tokens import Grid, Side, num_global, select, take
from anyformer.ops.attention import (
    TILE_ELEMENTS,
    attend_tile,
    attention,
    check_heads,
    check_places,
    distance,
    merge,
    recomputed,
)
from anyformer.ops.masks import MaskSpec, Product
from anyformer.precision import wide

Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Outcome = tuple[Tensor, Tensor | None]
"""y, and the log-sum-exp of the scores where it is known."""


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
    q_side, k_side = _sides(q, k, v, spec, q_index, k_index, global_mask, q_pos, k_pos)
    _check_terms(q, k, score, places)
    q_side, k_side, score = _scored(q, k, q_side, k_side, score, places)
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
    # a key that is not seen is not there, whatever its value
    parts = (weights[..., None] * values[:, :, None]).masked_fill(~visible[..., None], 0.0)
    y = parts.sum(3).to(q.dtype)
    return (y, lse) if return_lse else y


def _flops(q: Tensor, k: Tensor, v: Tensor, spec: MaskSpec, **options: Any) -> int:
    (B, H, T, K), S, V = q.shape, k.shape[2], v.shape[3]
    global_mask = options.get("global_mask")
    ordered, pairs = options.get("q_index") is None, 0
    for product in spec.products():
        num, shape = num_global(global_mask, product), _band_shape(product, T, S)
        if product.global_side:
            pairs += num * (T if product.global_side == "key" else S)
        elif product.columns is not None:
            pairs += T * product.columns.most(S)
        elif shape is not None:
            pairs += _rows(product) * shape[0] * shape[1] * shape[2]
        elif product.step > 1:
            pairs += _rows(product) * _columns(T, product.step) * _columns(S, product.step)
        elif B * H * T * S > 0:
            for start, stop, low, high in _blocks(product, B * H, T, S, ordered):
                pairs += (stop - start) * (high - low)
    return 2 * B * H * pairs * (K + V)


PATH = native_path(
    "pytorch blocks", "blocks of queries with their reachable keys, as batched matrix products"
)


@primitive(
    "sparse_attention", definition=sparse_attention_definition, flops=_flops, path=PATH, spread=ALONG_TIME
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
    """Softmax attention over the pairs of ``spec``; time and memory linear in T for bounded bands and few
    global tokens, forward and backward.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V), H a multiple of G.
        spec: a :class:`~anyformer.ops.masks.MaskSpec`.
        q_index: (B, T) int, the token number of each query, -1 = not there; in any order, but the numbers of a
            sample must be consecutive. By default the last query has the last key's number.
        k_index: (B, S) int, likewise for keys; 0 .. S - 1 by default.
        global_mask: (B, S) bool, the keys that are global tokens.
        q_pos, k_pos: (B, T, ...) and (B, S, ...), what ``score`` gets as positions; the indices by default.
        score: ``score(s, q, k, q_pos, k_pos) -> s`` changes scaled scores. It is called on tiles: s (N, H, C, S'),
            q (N, H, C, K), k (N, G, S', K), q_pos (N, C, ...), k_pos (N, S', ...).
        places: instead of ``score``, as in :func:`~anyformer.ops.attention.attention`: |q_place_i - k_place_j| is
            taken from the scores.
        scale: of the scores; 1 / sqrt(K) by default.
        return_lse: also return the log-sum-exp of each query's scores, for :func:`~anyformer.ops.attention.merge`.

    Returns:
        y (B, H, T, V) in q's dtype, or (y, lse) with lse (B, H, T). A query that sees nothing, or is not there,
        gets zeros and -inf.

    Raises:
        ValueError: for shapes that don't fit, numbers that are not consecutive, too many global tokens.
    """
    q_side, k_side = _sides(q, k, v, spec, q_index, k_index, global_mask, q_pos, k_pos)
    _check_terms(q, k, score, places)
    if score is None and q.shape[0] * q.shape[2] * k.shape[2] > 0 and can_attend(q, k, v):
        rows = stretches(spec, q_side, k_side, q_index is None)
        if rows is not None:
            y, lse = attend(q, k, v, *rows, places=places, scale=score_scale(scale, q.shape[3]))
            return (y, lse) if return_lse else y
    q_side, k_side, score = _scored(q, k, q_side, k_side, score, places)
    products = spec.products()
    fused = q.is_cuda and len(products) == 1 and score is None and not return_lse
    parts: list[Outcome] = []
    if q.shape[0] * q.shape[2] * k.shape[2] > 0:
        for n, product in enumerate(products):
            part = _Part(product, products[:n], q_index is None, score, score_scale(scale, q.shape[3]), fused)
            result = _run(part, q, k, v, q_side, k_side)
            if result is not None:
                parts.append(result)
    if fused and parts:
        return parts[0][0]
    if not parts:
        return nothing_seen(q, k, v, return_lse)
    y, lse = merge(parts)  # type: ignore[arg-type]
    return (y, lse) if return_lse else y


def _scored(
    q: Tensor,
    k: Tensor,
    q_side: Side,
    k_side: Side,
    score: Score | None,
    places: tuple[Tensor, Tensor] | None,
) -> tuple[Side, Side, Score | None]:
    """Places as positions, with a score that takes their distance."""
    if places is None:
        return q_side, k_side, score
    (B, H, T, _), S = q.shape, k.shape[2]
    q_pos = places[0].expand(B, H, T).transpose(1, 2)
    k_pos = places[1].expand(B, H, S).transpose(1, 2)

    def fall(s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        return s - distance(q_pos.transpose(1, 2), k_pos.transpose(1, 2)).to(s.dtype)

    return q_side._replace(pos=q_pos), k_side._replace(pos=k_pos), fall


class _Part(NamedTuple):
    """One product, less the pairs that earlier ones had."""

    product: Product
    earlier: tuple[Product, ...]
    ordered: bool  # queries and keys come in the order of their numbers, the last ones aligned
    score: Score | None
    scale: float
    fused: bool  # by PyTorch's fused attention, which tells no log-sum-exp: there is nothing to merge with

    def tile(self, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
        """One tile of N batched blocks: q (N, H, C, K) against k (N, G, S, K)."""
        i, j = q_side.number[:, :, None], k_side.number[:, None, :]
        flags = q_side.is_global[:, :, None], k_side.is_global[:, None, :]
        visible = self.product.sees(i, j, *flags) & (i >= 0) & (j >= 0)
        for product in self.earlier:
            visible = visible & ~product.sees(i, j, *flags)
        if self.fused:
            return attention(q, k, v, visible=visible[:, None], scale=self.scale), None
        score = self.score
        adjust = None if score is None else (lambda s: score(s, q, k, q_side.pos, k_side.pos))
        return attend_tile(q, k, v, visible[:, None], self.scale, adjust=adjust)


def _run(part: _Part, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome | None:
    product = part.product
    if product.global_side or product.columns is not None or product.step > 1:
        part = part._replace(ordered=False)  # what is gathered is in no such order
    if product.global_side == "key":
        num = num_global(k_side.is_global, product)
        slots, _ = select(k_side.is_global, num)
        if num == 0:
            return None
        return _dense(part, q, _take_heads(k, slots), _take_heads(v, slots), q_side, k_side.take(slots))
    if product.global_side == "query":
        num = min(num_global(k_side.is_global, product), q.shape[2])
        if num == 0:
            return None
        slots, rank = select(q_side.is_global, num)
        found = _dense(part, _take_heads(q, slots), k, v, q_side.take(slots), k_side)
        return _back(_each(found, lambda x: x.transpose(1, 2)), rank)
    if product.columns is not None:
        chosen = product.columns.chosen(k_side.number) & (k_side.number >= 0)
        slots, _ = select(chosen, product.columns.most(k.shape[2]))
        return _dense(part, q, _take_heads(k, slots), _take_heads(v, slots), q_side, k_side.take(slots))
    if _band_shape(product, q.shape[2], k.shape[2]) is not None:
        return _band(part, q, k, v, q_side, k_side)
    if product.step > 1:
        return _classes(part, q, k, v, q_side, k_side)
    return _dense(part, q, k, v, q_side, k_side)


def _dense(part: _Part, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
    """All queries, in blocks, against all keys that the block can reach."""
    (B, H, T, _), S = q.shape, k.shape[2]
    blocks = _blocks(part.product, B * H, T, S, part.ordered)
    if len(blocks) == 1:
        return part.tile(q, k, v, q_side, k_side)
    rows = blocks[0][1]
    parts = []
    for (_, _, low, high), queries, *side in zip(
        blocks, q.split(rows, 2), *(x.split(rows, 1) for x in q_side)
    ):
        keys = Side(*(x[:, low:high] for x in k_side))
        parts.append(recomputed(part.tile, queries, k[:, :, low:high], v[:, :, low:high], Side(*side), keys))
    return _joined(parts, 2)


def _joined(parts: list[Outcome], axis: int) -> Outcome:
    lses = [lse for _, lse in parts if lse is not None]
    return torch.cat([y for y, _ in parts], axis), torch.cat(lses, axis) if lses else None


def _blocks(product: Product, heads: int, T: int, S: int, ordered: bool) -> list[tuple[int, int, int, int]]:
    """Ranges (start, stop) of queries, each with the range (low, high) of keys to look at."""
    rows = max(1, min(T, TILE_ELEMENTS // (heads * S)))
    if rows >= T:
        return [(0, T, 0, S)]
    blocks = []
    for start in range(0, T, rows):
        stop, low, high = min(start + rows, T), 0, S
        if ordered and product.past is not None:
            low = max(0, S - T + start - product.past)
        if ordered and product.future is not None:
            high = min(S, S - T + stop + product.future)
        blocks.append((start, stop, low, high))
    return blocks


def _band_shape(product: Product, T: int, S: int) -> tuple[int, int, int] | None:
    """(blocks of queries, queries and keys of a block) for each residue class, or ``None`` if dense is as good."""
    past, future, step = product.past, product.future, product.step
    if past is None or future is None:
        return None
    reach = past // step + future // step
    columns = _columns(T, step)
    C = min(max(16, min(256, _power_of_two(reach))), columns)
    if C + reach >= _columns(S, step) and step == 1:
        return None
    return -(-columns // C), C, C + reach


def _band(part: _Part, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
    """Blocks of neighbouring queries against the keys that they can reach, batched."""
    (B, H, T, _), S = q.shape, k.shape[2]
    product = part.product
    shape = _band_shape(product, T, S)
    assert shape is not None and product.past is not None
    (blocks, C, width), step, rows = shape, product.step, _rows(product)
    q_grid = Grid.of(q_side.number, step, blocks * C, product.residue)
    k_grid = Grid.of(k_side.number, step, _columns(S, step), product.residue)
    q_slots = q_grid.slots.reshape(B, rows * blocks, C)
    first = q_grid.base - k_grid.base - product.past // step
    columns = first[:, None] + torch.arange(blocks, device=q.device) * C
    columns = columns[:, :, None] + torch.arange(width, device=q.device)
    k_slots = k_grid.at(columns).reshape(B, rows * blocks, width)
    tiles = [_take_heads(q, q_slots), _take_heads(k, k_slots), _take_heads(v, k_slots)]
    sides = [*q_side.take(q_slots), *k_side.take(k_slots)]
    group = len(tiles[0]) if part.fused else max(1, TILE_ELEMENTS // (H * C * width))
    if group >= tiles[0].shape[0]:
        found = part.tile(tiles[0], tiles[1], tiles[2], Side(*sides[:3]), Side(*sides[3:]))
    else:
        pieces = zip(*(x.split(group) for x in (*tiles, *sides)))
        done = [recomputed(part.tile, q, k, v, Side(*side[:3]), Side(*side[3:])) for q, k, v, *side in pieces]
        found = _joined(done, 0)
    # (B * rows * blocks, H, C, V) back to one row a query
    found = _each(found, lambda x: x.transpose(1, 2).reshape(B, -1, H, *x.shape[3:]))
    return _back(found, q_grid.place)


def _classes(part: _Part, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
    """Tokens of equal number mod step, each class as a sequence of its own."""
    (B, H, T, _), S = q.shape, k.shape[2]
    product = part.product
    grids = [
        Grid.of(side.number, product.step, _columns(n, product.step), product.residue)
        for side, n in ((q_side, T), (k_side, S))
    ]
    q_slots, k_slots = (grid.slots for grid in grids)
    keys = _take_heads(k, k_slots), _take_heads(v, k_slots)
    found = _dense(part, _take_heads(q, q_slots), *keys, q_side.take(q_slots), k_side.take(k_slots))
    found = _each(found, lambda x: x.transpose(1, 2).reshape(B, -1, H, *x.shape[3:]))
    return _back(found, grids[0].place)


def _rows(product: Product) -> int:
    """Classes of numbers mod step that there are to look at."""
    return product.step if product.residue is None else 1


def _columns(T: int, step: int) -> int:
    """Columns that hold any T consecutive numbers."""
    return (T + step - 2) // step + 1


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def _take_heads(x: Tensor, slots: Tensor) -> Tensor:
    """As :func:`take` for x (B, H, T, K), to (-1, H, n, K)."""
    return take(x.transpose(1, 2), slots).transpose(1, 2)


def _each(found: Outcome, function: Callable[[Tensor], Tensor]) -> Outcome:
    y, lse = found
    return function(y), None if lse is None else function(lse)


def _back(found: Outcome, place: Tensor) -> Outcome:
    """y (B, n, H, V), lse (B, n, H) to (B, H, T, ...) by place (B, T); a place past the end gives zeros and -inf."""
    y, lse = found
    there = place < y.shape[1]
    slots = place.masked_fill(~there, 0)
    y = take(y, slots).masked_fill(~there[:, :, None, None], 0.0).transpose(1, 2)
    if lse is None:
        return y, None
    return y, take(lse, slots).masked_fill(~there[:, :, None], -torch.inf).transpose(1, 2)


def _sides(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spec: MaskSpec,
    q_index: Tensor | None,
    k_index: Tensor | None,
    global_mask: Tensor | None,
    q_pos: Tensor | None,
    k_pos: Tensor | None,
) -> tuple[Side, Side]:
    """Check everything and fill in what was left out."""
    check_heads(q, k, v)
    (B, _, T, _), S = q.shape, k.shape[2]
    if not isinstance(spec, MaskSpec):
        raise ValueError(f"spec must be a MaskSpec, got {type(spec).__name__}")
    if (q_index is None) != (k_index is None):
        raise ValueError("q_index and k_index must be given together")
    if q_index is None or k_index is None:
        if T > S:
            raise ValueError(
                f"without q_index there must be at least as many keys as queries, got {S} and {T}"
            )
        k_index = torch.arange(S, device=q.device).expand(B, S)
        q_index = k_index[:, S - T :]
    else:
        q_index, k_index = _check_index("q_index", q_index, (B, T)), _check_index("k_index", k_index, (B, S))
    nobody = torch.zeros(B, 1, dtype=torch.bool, device=q.device)
    if global_mask is None:
        q_global, k_global = nobody.expand(B, T), nobody.expand(B, S)
    else:
        k_global = _check_global(global_mask, (B, S), spec) & (k_index >= 0)
        q_global = _global_queries(q_index, k_index, k_global)
    for name, pos, shape in (("q_pos", q_pos, (B, T)), ("k_pos", k_pos, (B, S))):
        if pos is not None and pos.shape[:2] != shape:
            raise ValueError(f"{name} must have shape {(*shape, '...')}, got {tuple(pos.shape)}")
    return (
        Side(q_index, q_global, q_index if q_pos is None else q_pos),
        Side(k_index, k_global, k_index if k_pos is None else k_pos),
    )


def _check_terms(q: Tensor, k: Tensor, score: Score | None, places: tuple[Tensor, Tensor] | None) -> None:
    check_places(q, k, places)
    if score is not None and places is not None:
        raise ValueError("places and score must not be given together")


def _global_queries(q_index: Tensor, k_index: Tensor, k_global: Tensor) -> Tensor:
    """(B, T) bool: the queries whose key is global."""
    if 0 in (*q_index.shape, *k_index.shape):
        return torch.zeros_like(q_index, dtype=torch.bool)
    grid = Grid.of(k_index, 1, k_index.shape[1])
    slots = grid.at((q_index - grid.base[:, None])[:, None]).reshape(q_index.shape)
    return k_global.gather(1, slots.clamp_min(0)) & (slots >= 0) & (q_index >= 0)


def _check_index(name: str, index: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(index.shape) != shape or index.dtype.is_floating_point or index.dtype == torch.bool:
        raise ValueError(f"{name} must be integers of shape {shape}, got {tuple(index.shape)} {index.dtype}")
    if not torch.compiler.is_compiling() and index.numel():
        ordered = index.sort(1).values
        if ((ordered.diff(dim=1) != 1) & (ordered[:, :-1] >= 0)).any():
            raise ValueError(f"{name} must number the tokens of each sample consecutively (-1 = not there)")
    return index.long()


def _check_global(global_mask: Tensor, shape: tuple[int, int], spec: MaskSpec) -> Tensor:
    if tuple(global_mask.shape) != shape or global_mask.dtype != torch.bool:
        got = f"{tuple(global_mask.shape)} {global_mask.dtype}"
        raise ValueError(f"global_mask must be bool of shape {shape}, got {got}")
    limits = [product.limit for product in spec.products() if product.limit is not None]
    if limits and not torch.compiler.is_compiling() and global_mask.numel():
        most = int(global_mask.sum(1).max())
        if most > min(limits):
            raise ValueError(
                f"global_mask must mark at most {min(limits)} tokens a sample (limit), got {most}"
            )
    return global_mask
