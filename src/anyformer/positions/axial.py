"""Learned vectors per axis of a grid."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.layers.grid import Grid, coordinates, read_grid
from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions


@register_position("axial")
class Axial(Positions):
    """The sum over a grid's axes of a learned vector per coordinate (Child 2019, section 5.3; Ho 2019).

    Args:
        grid: the sizes of all axes but the first, see :mod:`anyformer.layers.grid`.
        rows: length of the first axis; a longer input raises.
    """

    class Options(Positions.Options):
        grid: Grid = 8
        rows: int = 64

        def info(self) -> PositionInfo:
            if self.rows < 1:
                raise ValueError(f"rows must be at least 1 for axial, got {self.rows}")
            return PositionInfo(adds=True, max_length=self.rows * math.prod(read_grid(self.grid)))

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.grid = read_grid(o.grid)
        self.weights = nn.ParameterList(torch.randn(n, dim) * 0.02 for n in (o.rows, *self.grid))

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and positions.numel():
            assert self.max_length is not None
            if int(positions.max()) >= self.max_length:
                raise ValueError(
                    f"positions must be below {self.max_length} for axial ones on this grid, "
                    f"got {int(positions.max())}"
                )
        places = coordinates(positions.long(), self.grid).unbind(-1)
        for weight, place in zip(self.weights, places, strict=True):
            x = x + weight[place]
        return x
