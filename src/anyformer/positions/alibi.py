"""Linear biases."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anyformer.layers.constants import register_constant
from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions
from anyformer.precision import exact


@register_position("alibi")
class Alibi(Positions):
    """Attention with linear biases: scores fall linearly with the distance, with a slope per head (Press 2021)."""

    slopes: Tensor

    class Options(Positions.Options):
        def info(self) -> PositionInfo:
            return PositionInfo(scores=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        register_constant(self, "slopes", partial(_slopes, num_heads))

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        distance = (q_positions[:, None, :, None] - k_positions[:, None, None, :]).abs()
        return -self.slopes.to(distance)[:, None, None] * distance

    def places(self, positions: Tensor) -> Tensor | None:
        return exact(self.slopes)[:, None] * exact(positions)[:, None, :]


def _slopes(num_heads: int) -> Tensor:
    """Return the slope of each head, (num_heads,)."""
    return torch.tensor(_powers(num_heads))


def _powers(num_heads: int) -> list[float]:
    """Return 2^(-8h/H) for H a power of two; otherwise append every second slope of the next power (section 3)."""
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = [2.0 ** (-8 * (h + 1) / power) for h in range(power)]
    return slopes + [2.0 ** (-4 * (2 * h + 1) / power) for h in range(num_heads - power)]
