"""Softmax attention with hashed look-ups instead of projections."""

from __future__ import annotations

from typing import Any

from torch import nn

from anyformer.layers.hashed import HashedLinear
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax.attention import Attention


@register_mixer("memoryformer", examples=[{"bits": 4}, {"bits": 4, "causal": False}])
class MemoryFormerAttention(Attention):
    """Attention with queries, keys and values from hashed look-ups and no output map (Ding 2024, section 3.2).

    Args:
        bits: channels per chunk, whose signs index the chunk's table; a divisor of dim.
        temperature: t of the weights of look-ups.
        num_heads, positions: as for ``attention``.
    """

    class Options(Attention.Options, only=("num_heads", "positions", "causal")):
        bits: int = 8
        temperature: float = 1.0

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        for name in ("q", "k", "v"):
            setattr(self, name, HashedLinear(dim, dim, bits=o.bits, temperature=o.temperature))
        self.out = nn.Identity()  # type: ignore[assignment]
