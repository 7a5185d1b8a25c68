"""Learned numbers of the distance, added to the scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.positions import positions
from anyformer.positions.base import Facts, Positions, offsets


@positions.register("t5", papers=["t5"])
class T5(Positions):
    """One learned number for each head and bucket of distances (Raffel 2019, section 2.1).

    Half of the buckets hold one distance each, the others grow geometrically up to ``max_distance``, behind which
    all are alike.

    Args:
        num_buckets: buckets, in both directions together.
        max_distance: where the last bucket begins.
        bidirectional: give later keys half of the buckets; else they all count as distance 0.
    """

    class Options(Positions.Options):
        num_buckets: int = 32
        max_distance: int = 128
        bidirectional: bool = False

        def facts(self) -> Facts:
            return Facts(scores=True)

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


@positions.register("kerple", papers=["fire"])
class Kerple(Positions):
    """A kernel of the distance with two learned positive numbers for each head (Chi 2022, eq. 6-7).

    ``log``: -r1 log(1 + r2 |i - j|). ``power``: -r1 |i - j|^r2, r2 at most 2.
    """

    class Options(Positions.Options):
        form: str = "log"

        def facts(self) -> Facts:
            return Facts(scores=True)

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
        near = distance == 0  # the power's own gradient is not finite there
        power = distance.masked_fill(near, 1.0) ** r2.clamp_max(2.0)
        return (-r1 * power.masked_fill(near, 0.0)).to(q.dtype)


@positions.register("fire", papers=["fire"])
class Fire(Positions):
    """A learned function of the distance relative to the query's position (Li 2023, eq. 3-5).

    b_ij = f(psi(i - j) / psi(max(L, i))), psi(x) = log(c x + 1), f a two-layer perceptron. Up to the learned
    threshold L nothing is rescaled; past it the argument stays in [0, 1] however long the sequence. Distances are
    taken as |i - j|, so that it may be used without causality, where the argument can exceed 1.

    Args:
        hidden: width of the perceptron.
        threshold: L at the beginning.
        rate: c at the beginning; 0 makes psi the identity.
        linear: f(x) = slope x + level for each head, in the place of the perceptron.
    """

    class Options(Positions.Options):
        hidden: int = 32
        threshold: float = 512.0
        rate: float = 0.1
        linear: bool = False

        def facts(self) -> Facts:
            return Facts(scores=True)

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
        self.threshold = nn.Parameter(torch.ones(()))  # as a factor, so that it learns as fast as the rest
        self.rate = nn.Parameter(torch.tensor(float(o.rate))) if o.rate else None

    def psi(self, x: Tensor) -> Tensor:
        """The map of distances."""
        return x if self.rate is None else (self.rate.to(x).abs() * x).log1p()

    def argument(self, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        """(B, T, S): what f is applied to."""
        top = torch.maximum(self.start * self.threshold.to(q_positions).abs(), q_positions)
        return self.psi(offsets(q_positions, k_positions).abs()) / self.psi(top).clamp_min(1e-6)[:, :, None]

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        argument = self.argument(q_positions, k_positions).to(q.dtype)
        return self.f(argument[..., None]).permute(0, 3, 1, 2)
