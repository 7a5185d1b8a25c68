"""Sequences that are grids read in raster order: an image row by row, a film frame by frame.

A grid is named by the sizes of all its axes but the first: ``8`` for images of width 8, ``"4x8"`` for films of frames
with 4 rows of 8. The first axis is as long as the tokens last, so that any length will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

Grid = int | str | Sequence[int]


def read_grid(grid: Grid) -> tuple[int, ...]:
    """The sizes of all axes but the first.

    Raises:
        ValueError: where they are not positive integers.
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
    """Where tokens (B, T) int64 of a sequence stand on the grid: (B, T, axes) int64."""
    found = []
    for size in reversed(sizes):
        found.append(index % size)
        index = index.div(size, rounding_mode="floor")
    return torch.stack([index, *reversed(found)], -1)


def fold(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """x (B, T, ...) as a grid (B, ceil(T / cells), *sizes, ...), with zeros where the last slice is not full."""
    B, T, *rest = x.shape
    missing = -T % math.prod(sizes)
    if missing:
        x = pad(x, (0, 0) * len(rest) + (0, missing))
    return x.reshape(B, -1, *sizes, *rest)


def unfold(x: Tensor, length: int, sizes: tuple[int, ...]) -> Tensor:
    """The first ``length`` tokens of a grid (B, rows, *sizes, ...), in raster order: (B, length, ...)."""
    return x.flatten(1, len(sizes) + 1)[:, :length]
