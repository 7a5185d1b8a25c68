"""One learned vector per position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions


@register_position("learned")
class Learned(Positions):
    """One learned vector per position, as in GPT-2 and BERT.

    Args:
        max_length: the number of positions; a longer input raises.
    """

    class Options(Positions.Options):
        max_length: int = 1024

        def info(self) -> PositionInfo:
            return PositionInfo(adds=True, max_length=self.max_length)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        self.weight = nn.Parameter(torch.randn(self.options.max_length, dim) * 0.02)

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
