"""Positions that are added: to the input, or to what queries and keys are made of."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.layers.grid import Grid, coordinates, read_grid
from anyformer.positions import positions
from anyformer.positions.base import Facts, Positions


def waves(positions: Tensor, dim: int, base: float = 10000.0) -> Tensor:
    """Sines and cosines in turn, (..., dim), of wavelengths from 2 pi to base * 2 pi."""
    channel = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype)
    angle = positions[..., None] * base ** (-channel / dim)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :dim]


@positions.register("sinusoidal", papers=["transformer"])
class Sinusoidal(Positions):
    """Sines and cosines of wavelengths from 2 pi to 10000 * 2 pi (Vaswani 2017, section 3.5).

    Args:
        base: wavelength base.
        halves: all sines before all cosines, and the last wavelength exactly base * 2 pi, as in the authors' code and
            what came from it (PEGASUS).
    """

    class Options(Positions.Options):
        base: float = 10000.0
        halves: bool = False

        def facts(self) -> Facts:
            return Facts(adds=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        if o.halves and (dim < 4 or dim % 2):
            raise ValueError(f"dim must be even and at least 4 for sinusoidal with halves, got {dim}")
        self.base, self.halves = o.base, o.halves

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        if not self.halves:
            return x + waves(positions, self.dim, self.base).to(x.dtype)
        half = self.dim // 2
        channel = torch.arange(half, device=positions.device, dtype=positions.dtype)
        angle = positions[..., None] * self.base ** (-channel / (half - 1))
        return x + torch.cat([angle.sin(), angle.cos()], -1).to(x.dtype)


@positions.register("position_infused", papers=["shortformer"])
class PositionInfused(Positions):
    """Sinusoids in what queries and keys are projected from, in every layer (Press 2020, section 5).

    q = (x + p) W_q, k = (x + p) W_k, v = x W_v: values and so hidden states know no absolute position.
    """

    class Options(Positions.Options):
        base: float = 10000.0

        def facts(self) -> Facts:
            return Facts(infuses=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.base = o.base

    def infuse(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + waves(positions, self.dim, self.base).to(x.dtype)


@positions.register("learned", papers=["transformer"])
class Learned(Positions):
    """One learned vector a position, as in GPT-2 and BERT.

    Args:
        max_length: the number of positions; a longer input raises.
    """

    class Options(Positions.Options):
        max_length: int = 1024

        def facts(self) -> Facts:
            return Facts(adds=True, max_length=self.max_length)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        self.weight = nn.Parameter(torch.randn(self.options.max_length, dim) * 0.02)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        assert self.max_length is not None
        if (
            not torch.compiler.is_compiling()
            and positions.numel()
            and int(positions.max()) >= self.max_length
        ):
            raise ValueError(
                f"positions must be below max_length={self.max_length} for learned positions, "
                f"got {int(positions.max())}"
            )
        return x + self.weight[positions.long()]


@positions.register("axial", papers=["sparse-transformer", "axial-transformer"])
class Axial(Positions):
    """A learned vector for each place on each axis of a grid, summed (Child 2019, section 5.3; Ho 2019).

    Args:
        grid: the sizes of all axes but the first, see :mod:`anyformer.layers.grid`.
        rows: places on the first axis; a longer input raises.
    """

    class Options(Positions.Options):
        grid: Grid = 8
        rows: int = 64

        def facts(self) -> Facts:
            if self.rows < 1:
                raise ValueError(f"rows must be at least 1 for axial, got {self.rows}")
            return Facts(adds=True, max_length=self.rows * math.prod(read_grid(self.grid)))

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
