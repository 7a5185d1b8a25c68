"""Sinusoids in the input of queries and keys."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.layers.waves import waves
from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions


@register_position("position_infused")
class PositionInfused(Positions):
    """Sinusoids in the input of queries and keys, in every layer (Press 2020, section 5).

    q = (x + p) W_q, k = (x + p) W_k, v = x W_v: values, and so hidden states, contain no absolute position.
    """

    class Options(Positions.Options):
        base: float = 10000.0

        def info(self) -> PositionInfo:
            return PositionInfo(infuses=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.base = o.base

    def infuse(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + waves(positions, self.dim, self.base).to(x.dtype)
