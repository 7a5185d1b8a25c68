"""Hashed look-ups as a feed-forward network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from anyformer.channels import register_channel
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.hashed import HashedLinear


@register_channel("memory_layer", examples=[{"bits": 2, "temperature": 0.5}, {"bits": 1}])
class MemoryLayer(Mixer):
    """Two hashed look-ups with a norm between, instead of an MLP (Ding 2024, section 3.2).

    In low precision, rounding may flip the sign of a number near zero between the look-ups, which changes the row that
    is looked up.

    Args:
        bits: channels per chunk, whose signs index the chunk's table; a divisor of dim.
        temperature: t of the weights of look-ups.
    """

    class Options(Mixer.Options):
        bits: int = 8
        temperature: float = 1.0

        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.first, self.second = (
            HashedLinear(dim, dim, bits=o.bits, temperature=o.temperature) for _ in range(2)
        )
        self.norm = nn.LayerNorm(dim)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.second(self.norm(self.first(x)))
