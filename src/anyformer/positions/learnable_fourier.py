"""Learnable Fourier features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.layers.grid import Grid, coordinates, read_grid
from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions


@register_position("learnable_fourier")
class LearnableFourier(Positions):
    """A perceptron on learned Fourier features of multi-axis positions, added to the input (Li 2021, algorithm 1).

    r(x) = [cos x W, sin x W] / sqrt(F), W initially of N(0, 1 / gamma^2), so that r(x) . r(y) is close to
    exp(-|x - y|^2 / (2 gamma^2)) / 2; then a layer with GELU and a projection.

    Args:
        axes: numbers in a position, by default those of the ``grid``, or 1; positions must be (B, T, axes), or (B, T)
            with axes=1 or a ``grid``.
        grid: the sizes of all ``axes`` of a grid but the first; positions (B, T) are then numbers of cells in raster
            order (see :mod:`anyformer.layers.grid`).
        groups: the axes form so many groups, each encoded by the same weights into its part of the width.
        features: F, the width of r.
        hidden: width of the perceptron.
        gamma: the initial distance over which positions are similar.
    """

    class Options(Positions.Options):
        axes: int | None = None
        groups: int = 1
        features: int = 64
        hidden: int = 32
        gamma: float = 10.0
        grid: Grid | None = None

        def info(self) -> PositionInfo:
            return PositionInfo(adds=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.grid = None if o.grid is None else read_grid(o.grid)
        axes = 1 if self.grid is None else 1 + len(self.grid)
        self.axes = axes if o.axes is None else o.axes
        if self.grid is not None and self.axes != axes:
            raise ValueError(f"axes must be {axes} on this grid for learnable_fourier, got {o.axes}")
        if o.groups < 1 or self.axes % o.groups or dim % o.groups:
            raise ValueError(
                f"groups must divide axes={self.axes} and dim={dim} for learnable_fourier, got {o.groups}"
            )
        if o.features < 2 or o.features % 2:
            raise ValueError(f"features must be even for learnable_fourier, got {o.features}")
        self.groups, self.features = o.groups, o.features
        self.waves = nn.Parameter(torch.randn(self.axes // o.groups, o.features // 2) / o.gamma)
        self.encode = nn.Sequential(
            nn.Linear(o.features, o.hidden), nn.GELU(), nn.Linear(o.hidden, dim // o.groups)
        )

    def response(self, positions: Tensor) -> Tensor:
        """Return r of positions (..., axes / groups): (..., features), of norm 1 / sqrt(2)."""
        angle = positions @ self.waves.to(positions)
        return torch.cat([angle.cos(), angle.sin()], -1) * self.features**-0.5

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        if positions.dim() == 2 and self.grid is not None:
            positions = coordinates(positions.long(), self.grid).to(positions.dtype)
        elif positions.dim() == 2:
            positions = positions[..., None]
        if positions.shape[-1] != self.axes:
            raise ValueError(
                f"positions must have {self.axes} axes for learnable_fourier, got {positions.shape[-1]}"
            )
        grouped = positions.unflatten(-1, (self.groups, -1))
        return x + self.encode(self.response(grouped).to(x.dtype)).flatten(-2).to(x.dtype)
