"""Learned biases per bucket of distances."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions, offsets


@register_position("t5")
class T5(Positions):
    """One learned bias per head and bucket of distances, added to the scores (Raffel 2019, section 2.1).

    Half of the buckets hold one distance each, the others grow geometrically up to ``max_distance``; the last one holds
    all greater distances.

    Args:
        num_buckets: buckets, in both directions together.
        max_distance: where the last bucket begins.
        bidirectional: give later keys half of the buckets; else they all count as distance 0.
    """

    class Options(Positions.Options):
        num_buckets: int = 32
        max_distance: int = 128
        bidirectional: bool = False

        def info(self) -> PositionInfo:
            return PositionInfo(scores=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        side = o.num_buckets // 2 if o.bidirectional else o.num_buckets
        if side < 2 or o.max_distance <= side // 2:
            raise ValueError(
                f"num_buckets must be at least {4 if o.bidirectional else 2} for t5 and max_distance above half of "
                f"a side's, got {o.num_buckets} and {o.max_distance}"
            )
        self.side, self.max_distance, self.bidirectional = side, o.max_distance, o.bidirectional
        self.weight = nn.Parameter(torch.randn(o.num_buckets, num_heads) * 0.1)

    def buckets(self, offset: Tensor) -> Tensor:
        """The bucket of each offset j - i, int64."""
        distance = offset.abs() if self.bidirectional else (-offset).clamp_min(0)
        exact = self.side // 2
        far = (distance.clamp_min(exact) / exact).log() / math.log(self.max_distance / exact)
        bucket = torch.where(distance < exact, distance, exact + (far * (self.side - exact)).floor())
        bucket = bucket.clamp_max(self.side - 1).long()
        return bucket + self.side * (offset > 0) if self.bidirectional else bucket

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        bucket = self.buckets(offsets(q_positions, k_positions).round())
        return self.weight.to(q)[bucket].permute(0, 3, 1, 2)
