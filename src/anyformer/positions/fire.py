"""A learned function of the distance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions, offsets


@register_position("fire")
class Fire(Positions):
    """A learned function of the distance over the query's position (Li 2023, eq. 3-5).

    b_ij = f(psi(i - j) / psi(max(L, i))), psi(x) = log(c x + 1), f a two-layer perceptron. Up to the learned threshold
    L distances have a fixed scale; beyond it the argument stays in [0, 1] at any length. Distances are |i - j|, so that
    bidirectional mixers can use it, where the argument can exceed 1.

    Args:
        hidden: width of the perceptron.
        threshold: initial L.
        rate: initial c; 0 makes psi the identity.
        linear: f(x) = slope x + level per head, instead of the perceptron.
    """

    class Options(Positions.Options):
        hidden: int = 32
        threshold: float = 512.0
        rate: float = 0.1
        linear: bool = False

        def info(self) -> PositionInfo:
            if self.hidden < 1:
                raise ValueError(f"hidden must be at least 1, got {self.hidden}")
            return PositionInfo(scores=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        if o.threshold <= 0 or o.rate < 0:
            raise ValueError(
                f"threshold must be positive and rate not negative for fire, got {o.threshold}, {o.rate}"
            )
        self.f: nn.Module = (
            nn.Linear(1, num_heads)
            if o.linear
            else nn.Sequential(nn.Linear(1, o.hidden), nn.ReLU(), nn.Linear(o.hidden, num_heads))
        )
        self.start = o.threshold
        self.threshold = nn.Parameter(torch.ones(()))  # a factor of start, to learn as fast as the rest
        self.rate = nn.Parameter(torch.tensor(float(o.rate))) if o.rate else None

    def psi(self, x: Tensor) -> Tensor:
        """Return psi(x) of distances x."""
        return x if self.rate is None else (self.rate.to(x).abs() * x).log1p()

    def argument(self, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        """Return the argument of f, (B, T, S)."""
        top = torch.maximum(self.start * self.threshold.to(q_positions).abs(), q_positions)
        return self.psi(offsets(q_positions, k_positions).abs()) / self.psi(top).clamp_min(1e-6)[:, :, None]

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        argument = self.argument(q_positions, k_positions).to(q.dtype)
        return self.f(argument[..., None]).permute(0, 3, 1, 2)
