"""Tokens by their numbers: the side of the queries and that of the keys, and look-up by number."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anyformer.ops.masks import Product


class Side(NamedTuple):
    """Number, global mark and position of each query, or of each key."""

    number: Tensor  # (B, T) int64, -1 = none
    is_global: Tensor  # (B, T) bool
    pos: Tensor  # (B, T, ...)

    def take(self, slots: Tensor) -> Side:
        """Return the tokens at slots (B, ..., n), folded to (-1, n); slot -1 gives number -1."""
        number, is_global, pos = (take(x, slots) for x in self)
        slots = slots.flatten(0, -2)
        return Side(number.masked_fill(slots < 0, -1), is_global & (slots >= 0), pos)


class Grid(NamedTuple):
    """Tokens by number: a row for each residue mod step (or for one ``residue``), a column for each quotient."""

    base: Tensor  # (B,): number // step of column 0
    place: Tensor  # (B, T): row * columns + column of each token; past the end for number -1
    slots: Tensor  # (B, rows, columns): the token in each cell, -1 = none

    @classmethod
    def of(cls, index: Tensor, step: int, columns: int, residue: int | None = None) -> Grid:
        B, T = index.shape
        there, rows = index >= 0, step
        largest = torch.iinfo(index.dtype).max
        base = index.masked_fill(~there, largest).amin(1)
        base = base.masked_fill(base == largest, 0).div(step, rounding_mode="floor")
        column = index.div(step, rounding_mode="floor") - base[:, None]
        row = index % step
        if residue is not None:
            there, rows, row = there & (row == residue), 1, torch.zeros_like(row)
        place = torch.where(there, row * columns + column, rows * columns)
        slots = index.new_full((B, rows * columns + 1), -1)
        slots = slots.scatter(1, place, torch.arange(T, device=index.device).expand(B, T))
        return cls(base, place, slots[:, :-1].reshape(B, rows, columns))

    def at(self, columns: Tensor) -> Tensor:
        """Return the slots (B, rows, blocks, width) at columns (B, blocks, width), -1 outside the grid."""
        B, rows, count = self.slots.shape
        inside = (columns >= 0) & (columns < count)
        flat = columns.clamp(0, count - 1).reshape(B, 1, -1).expand(B, rows, -1)
        return (
            self.slots.gather(2, flat).reshape(B, rows, *columns.shape[1:]).masked_fill(~inside[:, None], -1)
        )


def num_global(global_mask: Tensor | None, product: Product) -> int:
    """Return the number of slots for global tokens: the limit, or the most of any sample."""
    if not product.global_side or global_mask is None:
        return 0
    if product.limit is not None:
        return min(product.limit, global_mask.shape[1])
    return int(global_mask.sum(1).max())


def select(mask: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Return slots (B, num) of the marked tokens, -1 = none, and each token's rank (B, T) among them, num = none."""
    B, T = mask.shape
    rank = torch.where(mask, (mask.cumsum(1) - 1).clamp_max(num), num)
    slots = torch.full((B, num + 1), -1, dtype=torch.int64, device=mask.device)
    slots = slots.scatter(1, rank, torch.arange(T, device=mask.device).expand(B, T))
    return slots[:, :num], rank


def take(x: Tensor, slots: Tensor) -> Tensor:
    """Gather x (B, T, ...) at slots (B, ..., n), folded to (-1, n, ...); slot -1 gives an arbitrary token."""
    B, T = x.shape[:2]
    rows = slots.clamp_min(0) + torch.arange(B, device=x.device).reshape(-1, *(1,) * (slots.dim() - 1)) * T
    taken = x.reshape(B * T, *x.shape[2:]).index_select(0, rows.flatten())
    return taken.reshape(-1, slots.shape[-1], *x.shape[2:])
