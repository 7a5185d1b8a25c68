"""Sequences that are grids in raster order: an image row by row, a video frame by frame.

A grid is given by the sizes of all its axes but the first: ``8`` for images of width 8, ``"4x8"`` for videos of frames
with 4 rows of 8. The first axis follows from the number of tokens, so that any length is possible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

Grid = int | str | Sequence[int]


def read_grid(grid: Grid) -> tuple[int, ...]:
    """Read the sizes of all axes but the first.

    Raises:
        ValueError: if they are not positive integers.
    """
    try:
        parts = grid.split("x") if isinstance(grid, str) else [grid] if isinstance(grid, int) else list(grid)
        sizes = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        sizes = ()
    if not sizes or min(sizes) < 1 or isinstance(grid, bool):
        raise ValueError(
            f"grid must be the sizes of all axes but the first, such as 8 or '4x8', got {grid!r}"
        )
    return sizes


def coordinates(index: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return the coordinates of tokens by number (B, T) int64: (B, T, axes) int64."""
    found = []
    for size in reversed(sizes):
        found.append(index % size)
        index = index.div(size, rounding_mode="floor")
    return torch.stack([index, *reversed(found)], -1)


def fold(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Reshape x (B, T, ...) to a grid (B, ceil(T / cells), *sizes, ...), the last slice padded with zeros."""
    B, T, *rest = x.shape
    missing = -T % math.prod(sizes)
    if missing:
        x = pad(x, (0, 0) * len(rest) + (0, missing))
    return x.reshape(B, -1, *sizes, *rest)


def unfold(x: Tensor, length: int, sizes: tuple[int, ...]) -> Tensor:
    """Return the first ``length`` tokens of a grid (B, rows, *sizes, ...), in raster order: (B, length, ...)."""
    return x.flatten(1, len(sizes) + 1)[:, :length]


def join_cells(x: Tensor, side: int) -> Tensor:
    """Join the side x side x ... cells of each block of a grid x (B, *sizes, C): (B, *ceil(sizes / side), side^axes C).

    Where ``side`` does not divide an axis, the grid is filled up with zeros at its far end.
    """
    axes = x.dim() - 2
    ends = [amount for size in reversed(x.shape[1:-1]) for amount in (0, -size % side)]
    x = pad(x, (0, 0, *ends)) if any(ends) else x
    for axis in range(axes):  # to (B, rows, side, columns, side, C)
        x = x.unflatten(1 + 2 * axis, (-1, side))
    places, inside = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    return x.permute(0, *places, *inside, 2 * axes + 1).flatten(axes + 1)


def spread(x: Tensor, side: int, sizes: Sequence[int]) -> Tensor:
    """Return for each cell of a grid what its block has: x (B, *ceil(sizes / side), C) to (B, *sizes, C)."""
    for axis, size in enumerate(sizes, 1):
        x = x.repeat_interleave(side, axis).narrow(axis, 0, size)
    return x


def neighbors(
    index: Tensor, lengths: Tensor, sizes: tuple[int, ...], window: int, dilation: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the window x window x ... nearest cells of each cell, shifted inside at borders (Hassani 2022, eq. 3).

    On an axis of n cells, cell i = i' d + r sees cells j = j' d + r of its own residue mod d, of which there are m::

        start <= j' < start + window,   start = min(max(i' - window // 2, 0), max(m - window, 0))

    and on several axes the product of these ranges.

    Args:
        index: (T,) int64, numbers of cells in raster order.
        lengths: (B,) int64, number of real cells of each sample, which come first.
        sizes: of all axes but the first; empty for one axis.
        window: odd. dilation: d.

    Returns:
        their numbers (B, T, N), -1 = none, and their offsets (B, T, N): j' - i' + window - 1 of each axis, as digits of
        one number to the base 2 window - 1.
    """
    cells = math.prod(sizes)
    step = torch.arange(window, device=index.device)
    numbers = apart = index.new_zeros(1, 1, 1)
    there = torch.ones(1, 1, 1, dtype=torch.bool, device=index.device)
    rest, inner = index, cells
    for n in (None, *sizes):
        inner = inner if n is None else inner // n
        place, rest = rest.div(inner, rounding_mode="floor"), rest % inner
        count = (lengths + cells - 1).div(cells, rounding_mode="floor")[:, None] if n is None else n
        i, r = place.div(dilation, rounding_mode="floor"), place % dilation
        m = (count - r + dilation - 1).div(dilation, rounding_mode="floor").expand(len(lengths), -1)
        start = torch.minimum((i - window // 2).clamp_min(0), (m - window).clamp_min(0))
        j = start[..., None] + step  # (B, T, window)
        far = (j - i[:, None] + window - 1).clamp(0, 2 * window - 2)
        numbers = ((numbers * (n or 1))[..., None] + (j * dilation + r[:, None])[:, :, None]).flatten(2)
        apart = ((apart * (2 * window - 1))[..., None] + far[:, :, None]).flatten(2)
        there = (there[..., None] & (j < m[..., None])[:, :, None]).flatten(2)
    there = there & (numbers < lengths[:, None, None]) & (index[:, None] < lengths[:, None, None])
    return numbers.masked_fill(~there, -1), apart
