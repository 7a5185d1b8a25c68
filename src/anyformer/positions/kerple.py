"""Learned kernels of the distance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions, offsets


@register_position("kerple")
class Kerple(Positions):
    """A kernel of the distance with two learned positive parameters per head (Chi 2022, eq. 6-7).

    ``log``: -r1 log(1 + r2 |i - j|). ``power``: -r1 |i - j|^r2, r2 at most 2.
    """

    class Options(Positions.Options):
        form: str = "log"

        def info(self) -> PositionInfo:
            return PositionInfo(scores=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        if o.form not in ("log", "power"):
            raise ValueError(f"form must be 'log' or 'power' for kerple, got {o.form!r}")
        self.form = o.form
        self.r1 = nn.Parameter(torch.linspace(0.5, 2.0, num_heads))
        self.r2 = nn.Parameter(torch.full((num_heads,), 1.0))

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        distance = offsets(q_positions, k_positions).abs()[:, None]
        r1, r2 = (r.to(distance).clamp_min(0.01)[:, None, None] for r in (self.r1, self.r2))
        if self.form == "log":
            return (-r1 * (r2 * distance).log1p()).to(q.dtype)
        near = distance == 0  # at 0 the power's gradient is infinite
        power = distance.masked_fill(near, 1.0) ** r2.clamp_max(2.0)
        return (-r1 * power.masked_fill(near, 0.0)).to(q.dtype)
