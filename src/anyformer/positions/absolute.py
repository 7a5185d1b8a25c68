"""Positions that are added to the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.positions import positions
from anyformer.positions.base import Positions


@positions.register("sinusoidal", papers=["transformer"])
class Sinusoidal(Positions):
    """Sines and cosines of wavelengths from 2 pi to 10000 * 2 pi (Vaswani 2017, section 3.5)."""

    adds = True

    def __init__(self, dim: int, num_heads: int, head_dim: int, *, base: float = 10000.0) -> None:
        super().__init__(dim, num_heads, head_dim)
        self.base = base

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        channel = torch.arange(0, self.dim, 2, device=x.device, dtype=positions.dtype)
        angle = positions[..., None] * self.base ** (-channel / self.dim)
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., : self.dim]
        return x + waves.to(x.dtype)


@positions.register("learned", papers=["transformer"])
class Learned(Positions):
    """One learned vector a position, as in GPT-2 and BERT.

    Args:
        max_length: the number of positions; a longer input raises.
    """

    adds = True

    def __init__(self, dim: int, num_heads: int, head_dim: int, *, max_length: int = 1024) -> None:
        super().__init__(dim, num_heads, head_dim)
        self.max_length: int | None = max_length
        self.weight = nn.Parameter(torch.randn(max_length, dim) * 0.02)

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
