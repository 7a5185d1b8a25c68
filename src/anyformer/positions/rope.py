"""Rotary positions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from anyformer.by_tensor import ByTensor
from anyformer.ops.rotate import rotate
from anyformer.positions import register_position
from anyformer.positions._base import Positions

Waves = tuple[Tensor, Tensor]

_WAVES = ByTensor[dict[tuple[Any, ...], Waves]]()  # cosines and sines, by tensor of positions and by rates


@register_position("rope")
class Rope(Positions):
    """Rotary position embedding: pairs of channels rotate with the position (Su 2021, eq. 34).

    Channel i is paired with i + K/2, the layout of Llama checkpoints; it is a permutation of the paper's.

    Args:
        base: wavelength base, the paper's 10000.
        pairs: ``half`` for Llama's layout, ``neighbours`` for the paper's, where channel 2i is paired with 2i + 1.
        fraction: the share of a head's channels that rotate, the first ones (GPT-NeoX).
        stretch: factor on the wavelengths, for sequences longer than those trained on (Chen 2023, section 2.3).
        trained_length: with it only wavelengths above ``trained_length / low`` are stretched, none below
            ``trained_length / high``, and those between in part (Llama 3.1).
    """

    class Options(Positions.Options):
        base: float = 10000.0
        pairs: str = "half"
        fraction: float = 1.0
        stretch: float = 1.0
        trained_length: int | None = None
        low: float = 1.0
        high: float = 4.0

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.turning = round(head_dim * o.fraction)
        if self.turning % 2 or not 2 <= self.turning <= head_dim:
            what = "head_dim" if o.fraction == 1 else "head_dim * fraction"
            raise ValueError(f"{what} must be even for rope, got {head_dim} and fraction {o.fraction}")
        if o.pairs not in ("half", "neighbours"):
            raise ValueError(f"pairs must be 'half' or 'neighbours' for rope, got {o.pairs!r}")
        self.pairs = o.pairs
        if o.stretch <= 0:
            raise ValueError(f"stretch must be positive for rope, got {o.stretch}")
        if not o.low < o.high:
            raise ValueError(f"low must be below high for rope, got {o.low} and {o.high}")
        self.base, self.stretch, self.trained_length = o.base, o.stretch, o.trained_length
        self.low, self.high = o.low, o.high

    def rates(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the rate of each pair that rotates, in radians per position."""
        half = self.turning // 2
        rates = self.base ** (-torch.arange(half, device=device, dtype=dtype) / half)
        if self.trained_length is None:
            return rates / self.stretch
        turns = self.trained_length * rates / (2 * math.pi)  # within the trained length
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return rates * (kept + (1 - kept) / self.stretch)

    def waves(self, positions: Tensor, dtype: torch.dtype) -> Waves:
        """Return cos and sin of the angles at positions (B, T), (B, T, K / 2), or (1, T, K / 2) where shared."""
        if positions.stride(0) == 0:
            positions = positions[:1]
        angle = positions[..., None] * self.rates(positions.device, positions.dtype)
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def rotate(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self._shared_waves(positions, q.dtype)
        turn = rotate if self.pairs == "half" and self.turning == self.head_dim else self._turn
        return turn(q, cos, sin), turn(k, cos, sin)

    def _turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.turning < self.head_dim:
            x, rest = x[..., : self.turning], x[..., self.turning :]
            return torch.cat([self._turn_all(x, cos, sin), rest], -1)
        return self._turn_all(x, cos, sin)

    def _turn_all(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.pairs == "half":
            return rotate(x, cos, sin)
        halves = (
            x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
        )  # the first channels of all pairs, then the second ones
        return rotate(halves, cos, sin).unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)

    def _shared_waves(self, positions: Tensor, dtype: torch.dtype) -> Waves:
        """Return :meth:`waves`, computed once for all layers with the same positions tensor."""
        if torch.compiler.is_compiling() or positions.is_inference() or positions.requires_grad:
            return self.waves(positions, dtype)
        made = _WAVES.get(positions)
        if made is None:
            made = _WAVES.put(positions, {})
        options = (self.base, self.stretch, self.trained_length, self.low, self.high)
        key = (self.turning, *options, dtype, positions._version, torch.is_inference_mode_enabled())
        if key not in made:
            made[key] = self.waves(positions, dtype)
        return made[key]
