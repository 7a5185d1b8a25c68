"""A product of a mask spec by blocks, in the cheapest of the forms that the op lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from anyformer.ops.attention import attention, tiles
from anyformer.ops.attention.tiles import attend_tile, recomputed
from anyformer.ops.masks import Product
from anyformer.ops.sparse_attention.shapes import band_shape, blocks_of, columns_of, rows_of
from anyformer.ops.sparse_attention.sides import Score
from anyformer.ops.sparse_attention.tokens import Grid, Side, num_global, select, take

Outcome = tuple[Tensor, Tensor | None]
"""y, and the log-sum-exp of the scores, None where the fused kernel ran."""


class MaskedProduct(NamedTuple):
    """One product of a spec, without the pairs of earlier products."""

    product: Product
    earlier: tuple[Product, ...]
    ordered: bool  # queries and keys are in the order of their numbers, the last ones aligned
    score: Score | None
    scale: float
    fused: (
        bool  # by PyTorch's fused attention, which returns no log-sum-exp: the only product, nothing to merge
    )

    def tile(self, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
        """Attend within N batched blocks: q (N, H, C, K) against k (N, G, S, K)."""
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


def run_product(
    part: MaskedProduct, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side
) -> Outcome | None:
    """Return y and lse of one product, None if it cannot have a visible pair."""
    product = part.product
    if product.global_side or product.columns is not None or product.step > 1:
        part = part._replace(ordered=False)  # gathered tokens are in no such order
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
    if band_shape(product, q.shape[2], k.shape[2]) is not None:
        return _band(part, q, k, v, q_side, k_side)
    if product.step > 1:
        return _classes(part, q, k, v, q_side, k_side)
    return _dense(part, q, k, v, q_side, k_side)


def _dense(part: MaskedProduct, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
    """Attend from all queries, in blocks, to the keys in the block's reach."""
    (B, H, T, _), S = q.shape, k.shape[2]
    blocks = blocks_of(part.product, B * H, T, S, part.ordered)
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


def _band(part: MaskedProduct, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
    """Attend from blocks of neighbouring queries to the keys in their reach, batched."""
    (B, H, T, _), S = q.shape, k.shape[2]
    product = part.product
    shape = band_shape(product, T, S)
    assert shape is not None and product.past is not None
    (blocks, C, width), step, rows = shape, product.step, rows_of(product)
    q_grid = Grid.of(q_side.number, step, blocks * C, product.residue)
    k_grid = Grid.of(k_side.number, step, columns_of(S, step), product.residue)
    q_slots = q_grid.slots.reshape(B, rows * blocks, C)
    first = q_grid.base - k_grid.base - product.past // step
    columns = first[:, None] + torch.arange(blocks, device=q.device) * C
    columns = columns[:, :, None] + torch.arange(width, device=q.device)
    k_slots = k_grid.at(columns).reshape(B, rows * blocks, width)
    cut = [_take_heads(q, q_slots), _take_heads(k, k_slots), _take_heads(v, k_slots)]
    sides = [*q_side.take(q_slots), *k_side.take(k_slots)]
    group = len(cut[0]) if part.fused else max(1, tiles.TILE_ELEMENTS // (H * C * width))
    if group >= cut[0].shape[0]:
        found = part.tile(cut[0], cut[1], cut[2], Side(*sides[:3]), Side(*sides[3:]))
    else:
        pieces = zip(*(x.split(group) for x in (*cut, *sides)))
        done = [recomputed(part.tile, q, k, v, Side(*side[:3]), Side(*side[3:])) for q, k, v, *side in pieces]
        found = _joined(done, 0)
    # (B * rows * blocks, H, C, V) back to one row a query
    found = _each(found, lambda x: x.transpose(1, 2).reshape(B, -1, H, *x.shape[3:]))
    return _back(found, q_grid.place)


def _classes(part: MaskedProduct, q: Tensor, k: Tensor, v: Tensor, q_side: Side, k_side: Side) -> Outcome:
    """Attend within each class of tokens of equal number mod step, as separate sequences."""
    (B, H, T, _), S = q.shape, k.shape[2]
    product = part.product
    grids = [
        Grid.of(side.number, product.step, columns_of(n, product.step), product.residue)
        for side, n in ((q_side, T), (k_side, S))
    ]
    q_slots, k_slots = (grid.slots for grid in grids)
    keys = _take_heads(k, k_slots), _take_heads(v, k_slots)
    found = _dense(part, _take_heads(q, q_slots), *keys, q_side.take(q_slots), k_side.take(k_slots))
    found = _each(found, lambda x: x.transpose(1, 2).reshape(B, -1, H, *x.shape[3:]))
    return _back(found, grids[0].place)


def _take_heads(x: Tensor, slots: Tensor) -> Tensor:
    """Gather x (B, H, T, K) at slots as :func:`take`, (-1, H, n, K)."""
    return take(x.transpose(1, 2), slots).transpose(1, 2)


def _each(found: Outcome, function: Callable[[Tensor], Tensor]) -> Outcome:
    y, lse = found
    return function(y), None if lse is None else function(lse)


def _back(found: Outcome, place: Tensor) -> Outcome:
    """Gather y (B, n, H, V), lse (B, n, H) at place (B, T) into (B, H, T, ...); place n gives zeros and -inf."""
    y, lse = found
    there = place < y.shape[1]
    slots = place.masked_fill(~there, 0)
    y = take(y, slots).masked_fill(~there[:, :, None, None], 0.0).transpose(1, 2)
    if lse is None:
        return y, None
    return y, take(lse, slots).masked_fill(~there[:, :, None], -torch.inf).transpose(1, 2)
