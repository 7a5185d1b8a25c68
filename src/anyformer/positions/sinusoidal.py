"""Sinusoidal positions, added to the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.layers.waves import waves
from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions


@register_position("sinusoidal")
class Sinusoidal(Positions):
    """Sines and cosines of wavelengths from 2 pi to 10000 * 2 pi (Vaswani 2017, section 3.5).

    Args:
        base: wavelength base.
        halves: all sines before all cosines, and the last wavelength exactly base * 2 pi, as in the authors' code and
            its descendants (PEGASUS).
    """

    class Options(Positions.Options):
        base: float = 10000.0
        halves: bool = False

        def info(self) -> PositionInfo:
            return PositionInfo(adds=True)

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
