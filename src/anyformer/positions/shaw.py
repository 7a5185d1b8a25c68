"""Learned vectors of the distance, on keys and values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions, clipped
from anyformer.positions._reach import check_reach
from anyformer.positions.relative import gathered, spread


@register_position("shaw")
class Shaw(Positions):
    """Learned vectors per clipped distance, added to keys and to values (Shaw 2018, eq. 3-4).

    s_ij = q_i (k_j + a_c(j-i)) / sqrt(K) and z_i = sum_j p_ij (v_j + b_c(j-i)), with c the clip to [-reach, reach];
    the vectors are shared by the heads. No (T, S, K) tensor is needed: queries are multiplied by the 2 reach + 1
    vectors, and weights of the same distance are summed before the product with theirs.

    Args:
        reach: distances are clipped to it, the paper's k.
        values: add vectors to the values, too.
    """

    class Options(Positions.Options):
        reach: int = 16
        values: bool = True

        def info(self) -> PositionInfo:
            return PositionInfo(scores=True, weighs=self.values)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.reach = check_reach("shaw", o.reach)
        self.on_keys = nn.Parameter(torch.randn(2 * o.reach + 1, head_dim) * head_dim**-0.5)
        if o.values:
            self.on_values = nn.Parameter(torch.randn(2 * o.reach + 1, head_dim) * head_dim**-0.5)

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        which = clipped(q_positions, k_positions, self.reach)
        return spread(q @ self.on_keys.to(q).T, which) * self.head_dim**-0.5

    def weigh(self, p: Tensor, q_positions: Tensor, k_positions: Tensor) -> tuple[Tensor, Tensor | None]:
        which = clipped(q_positions, k_positions, self.reach)
        return p, gathered(p, which, 2 * self.reach + 1) @ self.on_values.to(p)
