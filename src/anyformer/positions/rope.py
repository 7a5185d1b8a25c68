"""Rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.positions import positions
from anyformer.positions.base import Positions


@positions.register("rope", papers=["rope"])
class Rope(Positions):
    """Rotary position embedding: pairs of channels turn with the position (Su 2021, eq. 34).

    Channel i is paired with i + K/2, the layout of Llama checkpoints; it is a permutation of the paper's.

    Args:
        base: wavelength base, the paper's 10000.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int, *, base: float = 10000.0) -> None:
        super().__init__(dim, num_heads, head_dim)
        if head_dim % 2:
            raise ValueError(f"head_dim must be even for rope, got {head_dim}")
        self.base = base

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        half = self.head_dim // 2
        steps = torch.arange(half, device=q.device, dtype=positions.dtype)
        angle = positions[:, None, :, None] * self.base ** (-steps / half)
        cos, sin = angle.cos().to(q.dtype), angle.sin().to(q.dtype)
        return _turn(q, cos, sin), _turn(k, cos, sin)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
