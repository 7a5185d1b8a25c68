"""Scores and their differences with standard errors: what varies, and how it is counted.

Seeds and items
    A score differs from run to run because of the seed, and from test set to test set because of the items drawn.
    A row is a table of seeds by pieces of evidence (items, or clusters of them). With seeds k = 1..S and pieces
    i = 1..P, what piece i adds to the score under seed k is mean + a_k + b_i + g_ki, so that

        the variance over seeds of the score, divided by S, estimates  var(a)/S + var(g)/(SP)
        the variance over pieces of the seeds' mean, divided by P,     var(b)/P + var(g)/(SP)

    Their sum counts the interaction g twice; it is estimated from what neither explains, and taken off once (the
    method of moments for two crossed random factors; Owen 2007, "The pigeonhole bootstrap", section 3).

Pairing
    Pieces are the same for every row, so that of a difference it is the piece-by-piece difference that counts, which
    cancels what is hard for all. Seeds are shared by none.

Few pieces
    Pieces of unequal weight enter by the jackknife of a ratio, and count as ``1 / sum(share**2)`` pieces. One piece
    tells nothing of the variance: the error is infinite. Variances over seeds, of two or three degrees of freedom,
    come out far too small now and then; so seeds (put together by Satterthwaite 1946) and items each keep the
    Student factor of their own, and an interval reaches ``sqrt(t_s**2 v_s + t_i**2 v_i)`` (Howe 1974).

Bounded metrics
    A difference of shares gets two more targets, one won by either side by all there is (Bonett and Price 2012), a
    share by itself one right and one wrong: so that a variance does not vanish where all targets agree. Where
    a few pieces without a bound agree to the last, two more are added that differ by as much, one in each direction.
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
"""Relative differences below this are arithmetic, not evidence."""
SURE = 1e-12
"""Smaller p-values are not told apart."""
AGREEING = 6
"""Fewer pieces that all agree prove nothing: that so many fall on one side by chance is likelier than 5%."""
NO_LIMITS: Limits = (-math.inf, math.inf)


@dataclass(frozen=True)
class Entry:
    """Something with scores on the shared test set: a candidate with its seeds, or a reference with one score."""

    name: str
    samples: tuple[Sample, ...]
    is_reference: bool = False

    @cached_property
    def score(self) -> float:
        return float(np.mean([sample.score for sample in self.samples]))

    @cached_property
    def table(self) -> _Table | None:
        """What each piece adds; None where pieces are not known."""
        counts = {len(sample.sums) for sample in self.samples}
        if len(counts) != 1 or counts == {0}:
            return None
        sums, weights = (np.array([getattr(s, name) for s in self.samples]) for name in ("sums", "weights"))
        totals = weights.sum(1, keepdims=True)
        shares = (weights / totals).mean(0)
        # A ratio, made linear at the row's score: what a piece adds is its share of it, and by how much it differs.
        added = (sums - self.score * weights) / totals + self.score * shares
        return _Table(added, shares, float(totals.mean()))

    @property
    def pieces(self) -> float | None:
        """How many pieces of evidence of equal weight the score rests on; None where they are not known."""
        return None if self.table is None else 1 / float((self.table.shares**2).sum())


@dataclass(frozen=True)
class Estimate:
    """A mean with its variance in independent parts, each with degrees of freedom of its own.

    ``centre`` is where the interval lies: the mean, drawn towards the middle for bounded metrics. No interval goes
    beyond the ``limits``.
    """

    mean: float
    parts: tuple[tuple[float, float], ...]
    centre: float
    limits: Limits = NO_LIMITS

    @property
    def error(self) -> float:
        return math.sqrt(sum(variance for variance, _ in self.parts))

    def reach(self, level: float) -> float:
        """Half the width of the interval that misses the truth with this probability."""
        factors = special.stdtrit(
            [freedom for _, freedom in self.parts], level / 2
        )  # the lower tail is exact
        return math.sqrt(sum(v * float(t) ** 2 for (v, _), t in zip(self.parts, factors, strict=True)))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        if not math.isfinite(self.error):
            return self.limits
        reach = self.reach(level)
        low, high = max(self.centre - reach, self.limits[0]), min(self.centre + reach, self.limits[1])
        return min(low, self.mean), max(high, self.mean)

    @property
    def p(self) -> float:
        """How likely a value as far from 0 is where the truth is 0: the level at which the interval touches 0."""
        far = abs(self.centre)
        if not math.isfinite(self.error) or far == 0:
            return 1.0
        # Were all parts of the fewest degrees of freedom, or of the most, it would be one of these.
        ends = [2 * float(special.stdtr(freedom, -far / self.error)) for _, freedom in self.parts]
        low, high = max(min(ends), SURE), max(ends)
        if high <= low or self.reach(high) >= far:
            return high
        if self.reach(low) <= far:
            return low
        return float(optimize.brentq(lambda level: self.reach(level) - far, low, high))


@dataclass(frozen=True)
class _Table:
    """What each piece adds to a row's score under each seed.

    Attributes:
        added: ``(S, P)``; the sum over pieces is a seed's score.
        shares: ``(P,)``, of the weight; they sum to 1.
        weight: of everything.
    """

    added: np.ndarray
    shares: np.ndarray
    weight: float

    @property
    def mean(self) -> np.ndarray:
        """``(P,)``, over seeds."""
        found: np.ndarray = self.added.mean(0)
        return found

    def interaction(self) -> float:
        """Variance of the mean score due to what neither seeds nor pieces explain."""
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
        """Seeds, without what they share with the items, and items."""
        kept = max(0.0, sum(part for part, _ in self.seeds) - self.interaction)
        return tuple(
            (total, total_freedom)
            for total, total_freedom in (_together(self.seeds, kept), _together(self.items))
            if total > 0
        )

    def add_seeds(self, row: Entry) -> None:
        """A reference has no seeds; a single seed tells nothing."""
        if row.is_reference:
            return
        scores = [sample.score for sample in row.samples]
        n = len(scores)
        self.seeds.append((float(np.var(scores, ddof=1)) / n, n - 1) if n > 1 else (math.inf, 1))

    def add_items(self, added: np.ndarray, table: _Table, value: float, ends: Limits) -> float:
        """The part of the pieces, and where the interval's centre comes to lie.

        Args:
            added: ``(P,)``, what each piece adds to the value.
            table: of the row, for the weights.
            value: the estimated value.
            ends: the lowest and the highest that one target may have.
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


def estimate(row: Entry, limits: Limits = NO_LIMITS) -> Estimate:
    """The score of one row, with the variation over seeds and over test items."""
    variance, centre = _Variance(), row.score
    variance.add_seeds(row)
    table = row.table
    if table is not None:
        centre = variance.add_items(table.mean, table, row.score, limits)
        variance.interaction = table.interaction()
    return _finish(variance, row.score, centre, abs(row.score), limits)


def difference(a: Entry, b: Entry, limits: Limits = NO_LIMITS) -> Estimate:
    """The score of ``a`` minus that of ``b``; test items pair up, seeds do not. The limits are those of a score."""
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
    """The sum of variances, or what is kept of it, and its degrees of freedom by Satterthwaite."""
    total = sum(part for part, _ in parts)
    if total == 0 or not math.isfinite(total):
        return total, 1.0
    return total if kept is None else kept, total**2 / sum(part**2 / freedom for part, freedom in parts)


def _finish(variance: _Variance, mean: float, centre: float, scale: float, limits: Limits) -> Estimate:
    parts, floor = variance.parts(), (ROUND_OFF * max(scale, 1e-30)) ** 2
    if sum(part for part, _ in parts) <= floor:
        return Estimate(mean, ((floor, 1e6),), mean, limits)
    return Estimate(mean, parts, centre, limits)
