"""Sines and cosines of positions."""

from __future__ import annotations

import torch
from torch import Tensor


def waves(positions: Tensor, dim: int, base: float = 10000.0) -> Tensor:
    """Return interleaved sines and cosines, (..., dim), of wavelengths from 2 pi to base * 2 pi."""
    channel = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype)
    angle = positions[..., None] * base ** (-channel / dim)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[..., :dim]
