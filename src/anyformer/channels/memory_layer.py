"""Hashed look-ups as a feed-forward network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from anyformer.channels import register_channel
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.hashed import HashedLinear


@register_channel("memory_layer", papers=["memoryformer"], examples=[{"bits": 4}])
class MemoryLayer(Mixer):
    """Two hashed look-ups with a norm between, in the place of an MLP (Ding 2024, section 3.2).

    Args:
        bits: numbers in a chunk, whose signs are a row of its table; a divisor of dim.
        temperature: t of the weight of a look-up.
    """

    def __init__(self, dim: int, *, bits: int = 8, temperature: float = 1.0, causal: bool = True) -> None:
        super().__init__(dim)
        self.first, self.second = (
            HashedLinear(dim, dim, bits=bits, temperature=temperature) for _ in range(2)
        )
        self.norm = nn.LayerNorm(dim)

    @classmethod
    def describe(cls, **_: Any) -> MixerInfo:
        reason = (
            "a rounded number between the two look-ups may change its sign, and another row is another value"
        )
        return MixerInfo(reach=(0, 0), exceptions={"precision": reason})

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.second(self.norm(self.first(x)))
