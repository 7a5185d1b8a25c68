"""Confidence intervals of scores and of their differences.

Seeds and items
    A score differs from run to run because of the seed, and from test set to test set because of the items drawn.
    An entry is a table of seeds by pieces of evidence (items, or clusters of them). With seeds k = 1..S and pieces
    i = 1..P, the contribution of piece i to the score under seed k is mean + a_k + b_i + g_ki, so that

        the variance over seeds of the score, divided by S, estimates  var(a)/S + var(g)/(SP)
        the variance over pieces of the seeds' mean, divided by P,     var(b)/P + var(g)/(SP)

    Their sum counts the interaction g twice; it is estimated from the residual of both, and subtracted once (the
    method of moments for two crossed random factors; Owen 2007, "The pigeonhole bootstrap", section 3).

Pairing
    Pieces are the same for every entry, so that a difference is taken piece by piece, which cancels the difficulty of
    the pieces. Seeds are not paired.

Few pieces
    Pieces of unequal weight enter by the jackknife of a ratio, and count as ``1 / sum(share**2)`` pieces. From one
    piece the variance cannot be estimated: the error is infinite. Variances over seeds, with two or three degrees of
    freedom, are sometimes far too small; therefore seeds (pooled by Satterthwaite 1946) and items each have a Student
    factor, and the half-width of an interval is ``sqrt(t_s**2 v_s + t_i**2 v_i)`` (Howe 1974).

Bounded metrics
    A difference of proportions gets two more targets, one won entirely by each side (Bonett and Price 2012), and a
    proportion gets one right and one wrong target, so that the variance does not vanish if all targets agree. If a few
    pieces of an unbounded metric agree exactly, two more are added that differ by as much, one in each direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import optimize, special

from anyformer.compare.results import Sample
from anyformer.metrics import Limits

LEVEL = 0.05
ROUND_OFF = 1e-9
"""Relative differences below this are rounding errors, not evidence."""
SURE = 1e-12
"""Smallest p-value that is reported."""
AGREEING = 6
"""Fewer pieces that all agree prove nothing: by chance they fall on one side with a probability above 5%."""
NO_LIMITS: Limits = (-math.inf, math.inf)


@dataclass(frozen=True)
class ScoredEntry:
    """An entry of the leaderboard: a candidate with a score for each seed, or a reference with one score."""

    name: str
    samples: tuple[Sample, ...]
    is_reference: bool = False

    @cached_property
    def score(self) -> float:
        """Mean score over seeds."""
        return float(np.mean([sample.score for sample in self.samples]))

    @cached_property
    def table(self) -> _Table | None:
        """Contributions of pieces; None if the pieces are not known."""
        counts = {len(sample.sums) for sample in self.samples}
        if len(counts) != 1 or counts == {0}:
            return None
        sums, weights = (np.array([getattr(s, name) for s in self.samples]) for name in ("sums", "weights"))
        totals = weights.sum(1, keepdims=True)
        shares = (weights / totals).mean(0)
        # A ratio, made linear at the entry's score: a piece contributes its share of it, and its deviation from it.
        added = (sums - self.score * weights) / totals + self.score * shares
        return _Table(added, shares, float(totals.mean()))

    @property
    def pieces(self) -> float | None:
        """Number of pieces of equal weight that tell as much as those of the score; None if they are not known."""
        return None if self.table is None else 1 / float((self.table.shares**2).sum())


@dataclass(frozen=True)
class Estimate:
    """An estimated mean and its variance.

    Attributes:
        mean: the mean.
        parts: independent parts of the variance, each with its degrees of freedom.
        centre: centre of the interval: the mean, moved towards the middle for bounded metrics.
        limits: bounds of every interval.
    """

    mean: float
    parts: tuple[tuple[float, float], ...]
    centre: float
    limits: Limits = NO_LIMITS

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(sum(variance for variance, _ in self.parts))

    def reach(self, level: float) -> float:
        """Return half the width of the interval that misses the true value with this probability."""
        factors = special.stdtrit(
            [freedom for _, freedom in self.parts], level / 2
        )  # the lower tail is exact
        return math.sqrt(sum(v * float(t) ** 2 for (v, _), t in zip(self.parts, factors, strict=True)))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the ends of the interval that misses the true value with this probability."""
        if not math.isfinite(self.error):
            return self.limits
        reach = self.reach(level)
        low, high = max(self.centre - reach, self.limits[0]), min(self.centre + reach, self.limits[1])
        return min(low, self.mean), max(high, self.mean)

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that the mean is 0: the level at which the interval touches 0."""
        far = abs(self.centre)
        if not math.isfinite(self.error) or far == 0:
            return 1.0
        # It lies between the p-values for the fewest and for the most degrees of freedom.
        ends = [2 * float(special.stdtr(freedom, -far / self.error)) for _, freedom in self.parts]
        low, high = max(min(ends), SURE), max(ends)
        if high <= low or self.reach(high) >= far:
            return high
        if self.reach(low) <= far:
            return low
        return float(optimize.brentq(lambda level: self.reach(level) - far, low, high))


@dataclass(frozen=True)
class _Table:
    """Contributions of pieces to an entry's score under each seed.

    Attributes:
        added: (S, P), contributions; the sum over pieces is a seed's score.
        shares: (P,), shares of the weight; they sum to 1.
        weight: total weight.
    """

    added: np.ndarray
    shares: np.ndarray
    weight: float

    @property
    def mean(self) -> np.ndarray:
        """(P,), mean contributions over seeds."""
        found: np.ndarray = self.added.mean(0)
        return found

    def interaction(self) -> float:
        """Return the variance of the mean score that is due to the interaction of seeds and pieces."""
        seeds, pieces = self.added.shape
        if seeds < 2 or pieces < 2:
            return 0.0
        rest = self.added - self.mean
        rest = rest - rest.sum(1, keepdims=True) * self.shares
        return float((rest**2).sum()) / (seeds - 1) / seeds * pieces / (pieces - 1)


@dataclass
class _Variance:
    """Variance of an estimate in parts, each with its degrees of freedom."""

    seeds: list[tuple[float, float]] = field(default_factory=list)
    items: list[tuple[float, float]] = field(default_factory=list)
    interaction: float = 0.0

    def parts(self) -> tuple[tuple[float, float], ...]:
        """Return the parts of seeds (without the interaction, which the items count too) and of items."""
        kept = max(0.0, sum(part for part, _ in self.seeds) - self.interaction)
        return tuple(
            (total, total_freedom)
            for total, total_freedom in (_together(self.seeds, kept), _together(self.items))
            if total > 0
        )

    def add_seeds(self, row: ScoredEntry) -> None:
        """Add the part of the seeds: none for a reference, infinite for a single seed."""
        if row.is_reference:
            return
        scores = [sample.score for sample in row.samples]
        n = len(scores)
        self.seeds.append((float(np.var(scores, ddof=1)) / n, n - 1) if n > 1 else (math.inf, 1))

    def add_items(self, added: np.ndarray, table: _Table, value: float, ends: Limits) -> float:
        """Add the part of the pieces; returns the centre of the interval.

        Args:
            added: (P,), contributions of the pieces to the value.
            table: of the entry, for the weights.
            value: the estimated value.
            ends: lowest and highest possible value of one target.
        """
        shares, pieces = table.shares, len(added)
        if pieces < 2:
            self.items.append((math.inf, 1))
            return value
        rest = added - value * shares
        extra = 0.0
        if np.isfinite(ends).all():
            extra = 1 / table.weight
        elif pieces < AGREEING and float((rest**2).sum()) <= (1e-6 * value) ** 2:
            ends, extra = (-abs(value), abs(value)), 1 / pieces
        whole = 1 + 2 * extra
        centre = (value + extra * sum(ends)) / whole if extra else value
        rest = (added - centre * shares) / whole
        variance = float(((rest / (1 - shares)) ** 2).sum()) * (pieces - 1) / pieces
        variance += sum((extra * (end - centre) / whole) ** 2 for end in ends) if extra else 0.0
        self.items.append((variance, max(1.0, 1 / float((shares**2).sum()) - 1)))
        return centre


def estimate(row: ScoredEntry, limits: Limits = NO_LIMITS) -> Estimate:
    """Estimate the score of one entry, with the variance over seeds and over test items."""
    variance, centre = _Variance(), row.score
    variance.add_seeds(row)
    table = row.table
    if table is not None:
        centre = variance.add_items(table.mean, table, row.score, limits)
        variance.interaction = table.interaction()
    return _finish(variance, row.score, centre, abs(row.score), limits)


def difference(a: ScoredEntry, b: ScoredEntry, limits: Limits = NO_LIMITS) -> Estimate:
    """Estimate the score of ``a`` minus that of ``b``, paired by test items. ``limits`` are those of a score."""
    variance, value = _Variance(), a.score - b.score
    centre, reach = value, limits[1] - limits[0]
    ends = (-reach, reach)
    variance.add_seeds(a)
    variance.add_seeds(b)
    left, right = a.table, b.table
    if left is not None and right is not None and len(left.shares) == len(right.shares):
        centre = variance.add_items(left.mean - right.mean, left, value, ends)
    else:
        for row, table in ((a, left), (b, right)):
            if table is not None:
                variance.add_items(table.mean, table, row.score, limits)
    variance.interaction = sum(table.interaction() for table in (left, right) if table is not None)
    return _finish(variance, value, centre, max(abs(a.score), abs(b.score)), ends)


def _together(parts: Sequence[tuple[float, float]], kept: float | None = None) -> tuple[float, float]:
    """Return the sum of variances, or ``kept`` in its place, and its degrees of freedom by Satterthwaite."""
    total = sum(part for part, _ in parts)
    if total == 0 or not math.isfinite(total):
        return total, 1.0
    return total if kept is None else kept, total**2 / sum(part**2 / freedom for part, freedom in parts)


def _finish(variance: _Variance, mean: float, centre: float, scale: float, limits: Limits) -> Estimate:
    parts, floor = variance.parts(), (ROUND_OFF * max(scale, 1e-30)) ** 2
    if sum(part for part, _ in parts) <= floor:
        return Estimate(mean, ((floor, 1e6),), mean, limits)
    return Estimate(mean, parts, centre, limits)
