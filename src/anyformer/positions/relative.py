"""Learned vectors of the distance between two tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions, clipped
from anyformer.positions._reach import check_reach
from anyformer.precision import roomy

FORMS = ("m1", "m2", "m3", "m4")


@register_position("relative")
class Relative(Positions):
    """Four forms of relative scores (Huang 2020, section 4), from tables shared by the heads.

    m1: q.k a_|i-j|, m2: q.k a_(j-i), with scalars a; m3: sum_d q_d k_d a_d with vectors;
    m4: q.k + q.a + k.a, Shaw's key term and its counterpart. All are divided by sqrt(K), distances clipped.

    Args:
        form: ``m1`` to ``m4``.
        reach: distances are clipped to it.
    """

    class Options(Positions.Options):
        form: str = "m4"
        reach: int = 16

        def info(self) -> PositionInfo:
            return PositionInfo(scores=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        if o.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)} for relative, got {o.form!r}")
        self.form, self.reach = o.form, check_reach("relative", o.reach)
        width = 1 if o.form in ("m1", "m2") else head_dim
        rows = o.reach + 1 if o.form == "m1" else 2 * o.reach + 1
        table = torch.randn(rows, width) * head_dim**-0.5
        self.table = nn.Parameter(table if o.form == "m4" else 1 + table)

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        which = clipped(q_positions, k_positions, self.reach)
        q, k = roomy(q), roomy(k)
        table, scale = self.table.to(q), self.head_dim**-0.5
        if self.form == "m4":
            keys = spread(k @ table.T, which.mT).mT
            return (spread(q @ table.T, which) + keys) * scale
        if self.form == "m3":  # one product per distance, so that no (T, S, K) tensor is needed
            y = q.new_zeros(())
            for row, factor in enumerate(table - 1):
                y = y + ((q * factor) @ k.mT).masked_fill((which != row)[:, None], 0.0)
            return y * scale
        if self.form == "m1":
            which = (which - self.reach).abs()
        return (q @ k.mT) * (table[:, 0] - 1)[which][:, None] * scale


def spread(by_distance: Tensor, which: Tensor) -> Tensor:
    """Gather by_distance (B, H, T, R) at distances ``which`` (B, T, S): (B, H, T, S)."""
    B, H = by_distance.shape[:2]
    return by_distance.gather(3, which[:, None].expand(B, H, -1, -1))


def gathered(p: Tensor, which: Tensor, rows: int) -> Tensor:
    """Sum p (B, H, T, S) over keys of the same distance, the transpose of ``spread``: (B, H, T, rows)."""
    B, H, T, _ = p.shape
    return p.new_zeros(B, H, T, rows).scatter_add(3, which[:, None].expand(B, H, -1, -1), p)
