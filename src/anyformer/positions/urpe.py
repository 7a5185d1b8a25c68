"""Learned weights on the attention probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import Scheme, position_info, register_position
from anyformer.positions._around import Around
from anyformer.positions._base import PositionInfo, clipped
from anyformer.positions._reach import check_reach


@register_position("urpe")
class Urpe(Around):
    """Attention probabilities times a learned weight per distance, after the softmax (Luo 2022, eq. 8).

    y_i = sum_j p_ij c_(j-i) v_j: rows need not sum to one, so that equal tokens can get different outputs, unlike with
    any scheme inside the softmax. At first c = 1.

    Args:
        scheme: the scheme of the scores; not one that is added to the input.
        reach: distances are clipped to it.
    """

    class Options(Around.Options):
        scheme: Scheme = "t5"
        reach: int = 128

        def info(self) -> PositionInfo:
            inner = position_info(self.scheme)
            if inner.adds:
                raise ValueError(f"scheme must be one that rotates or scores for urpe, got {self.scheme!r}")
            return inner._replace(weighs=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.reach = check_reach("urpe", o.reach)
        self.factor = nn.Parameter(torch.ones(num_heads, 2 * o.reach + 1))

    def weigh(self, p: Tensor, q_positions: Tensor, k_positions: Tensor) -> tuple[Tensor, Tensor | None]:
        p, more = self.inner.weigh(p, q_positions, k_positions)
        which = clipped(q_positions, k_positions, self.reach)
        return p * self.factor.to(p)[:, which].transpose(0, 1), more
