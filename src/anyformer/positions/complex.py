"""Complex-valued heads with a learned map of phase differences between tokens and positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import Positions


@register_position("complex")
class Complex(Positions):
    """Complex heads with a learned map of phase differences and learned rates (Shao 2025).

    The score of a pair of channels is |q| |k| cos(a (arg q - arg k) + b + w (m - n)), with a, b and w learned for
    each head and pair. It factorises into rotations of the query and of the key, so that no (T, S) tensor is
    needed. At first a = 1, b = 0 and w is RoPE's rate, which is RoPE.

    Args:
        base: wavelength base of the initial rates.
    """

    class Options(Positions.Options):
        base: float = 10000.0

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        if head_dim % 2:
            raise ValueError(f"head_dim must be even for complex, got {head_dim}")
        self.base, half = o.base, head_dim // 2
        self.scale = nn.Parameter(torch.ones(num_heads, half))
        self.phase = nn.Parameter(torch.zeros(num_heads, half))
        self.log_rate = nn.Parameter(torch.zeros(num_heads, half))

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if k.shape[1] != self.num_heads:
            raise ValueError(
                f"num_kv_heads must be {self.num_heads} for complex positions, which differ between heads; "
                f"got {k.shape[1]}"
            )
        half = self.head_dim // 2
        rates = self.base ** (-torch.arange(half, device=q.device, dtype=positions.dtype) / half)
        rates = rates * self.log_rate.to(rates).exp()
        angle = positions[:, None, :, None] * rates[:, None]
        return self._turn(q, angle + self.phase.to(rates)[:, None]), self._turn(k, angle)

    def _turn(self, x: Tensor, angle: Tensor) -> Tensor:
        real, imaginary = x.to(angle.dtype).chunk(2, -1)
        nothing = (real == 0) & (imaginary == 0)  # zero has no phase, and no gradient of it
        real = real.masked_fill(nothing, 1.0)
        size = torch.hypot(real, imaginary).masked_fill(nothing, 0.0)
        angle = self.scale.to(angle)[:, None] * torch.atan2(imaginary, real) + angle
        return torch.cat([size * angle.cos(), size * angle.sin()], -1).to(x.dtype)
