"""Mask specs in the native kernel's terms: a span of keys for each query, and some global keys."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from anyformer.ops.masks import MaskSpec, Product
from anyformer.ops.sparse_attention.tokens import Grid, Side, num_global, select


class Rows(NamedTuple):
    """Arguments of :func:`anyformer.ops.attention.spans.attend`."""

    spans: Tensor  # (B or 1, R, 4) int32
    extra: Tensor | None  # (B, E)
    q_slot: Tensor | None  # (B, R)
    k_slot: Tensor | None  # (B, S)


def refuses_spec(spec: MaskSpec) -> str | None:
    """Return why the kernel does not support ``spec``, or None where it is a span of keys per query and global keys."""
    nothing = torch.empty(0, dtype=torch.int64)
    if all(product.span(nothing) is not None for product in spec.products()):
        return None
    return "the mask is not one span of keys for each query"


def rows_and_spans(spec: MaskSpec, q_side: Side, k_side: Side, ordered: bool) -> Rows:
    """Return a spec that :func:`refuses_spec` accepts as spans of rows (queries) over columns (keys), by number.

    Every span contains the query's own number, so that a union of spans is one too. Rows of global queries, which see
    more than their neighbours, come last.
    """
    products: dict[str, list[Product]] = {"": [], "key": [], "query": []}
    for product in spec.products():
        products[product.global_side].append(product)
    T, S = q_side.number.shape[1], k_side.number.shape[1]
    q_slot = k_slot = None
    number, q_global, k_global = q_side.number[:1], q_side.is_global, k_side.is_global
    base, count = torch.zeros_like(number[:, :1]), torch.full_like(number[:, :1], S)
    if not ordered:
        q_grid, k_grid = Grid.of(q_side.number, 1, T), Grid.of(k_side.number, 1, S)
        q_slot, k_slot = q_grid.slots[:, 0], k_grid.slots[:, 0]
        number = q_grid.base[:, None] + torch.arange(T, device=q_slot.device)
        base, count = k_grid.base[:, None], (k_slot >= 0).sum(1, keepdim=True)
        q_global, k_global = _by(q_global, q_slot), _by(k_global, k_slot)
    columns = (base, count)
    num_extra = max([num_global(k_global, p) for p in products["key"]], default=0)
    num_rows = min(max([num_global(k_global, p) for p in products["query"]], default=0), T)
    bounds = [*_cover(products[""], number, *columns)]
    bounds += _cover(products["key"] if num_extra else [], number, *columns)
    if num_rows:
        chosen, _ = select(q_global, num_rows)
        theirs = number.expand(len(chosen), -1).gather(1, chosen.clamp_min(0))
        low, high = _cover(products[""] + products["query"], theirs, *columns)
        more = (low, high, *_cover(products["key"] if num_extra else [], theirs, *columns))
        bounds = [torch.cat([a.expand(len(chosen), -1), b], 1) for a, b in zip(bounds, more, strict=True)]
        if q_slot is None:
            q_slot = torch.arange(T, device=chosen.device).expand(len(chosen), T)
        slots = q_slot.gather(1, chosen.clamp_min(0)).masked_fill(chosen < 0, -1)
        q_slot = torch.cat([q_slot.masked_fill(q_global, -1), slots], 1)
    extra = select(k_global, num_extra)[0] if num_extra else None
    return Rows(torch.stack(bounds, -1).int(), extra, q_slot, k_slot)


def _by(is_global: Tensor, slot: Tensor) -> Tensor:
    return is_global.gather(1, slot.clamp_min(0)) & (slot >= 0)


def _cover(products: list[Product], number: Tensor, base: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return the span [start, stop) of columns that the products together let each number see.

    The first of ``count`` (B or 1, 1) columns has the number ``base`` (B or 1, 1).
    """
    nothing = torch.zeros_like(number)
    if not products:
        return nothing, nothing
    lows, highs = zip(*(p.span(number) or (None, None) for p in products), strict=True)
    low, high = nothing, nothing + count
    if None not in lows:
        low = (reduce(torch.minimum, lows) - base).clamp_min(0).minimum(count)
    if None not in highs:
        high = (reduce(torch.maximum, highs) + 1 - base).clamp_min(0).minimum(count)
    return low, high
