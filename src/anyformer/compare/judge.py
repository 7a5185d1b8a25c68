"""From scores to a leaderboard with intervals, and to a verdict in words.

What varies, and how it is counted
    A score differs from run to run because of the seed, and from test set to test set because of the items drawn.
    Both enter every interval. Seeds are independent between candidates, so their variances add, as in Welch's
    test; test items are the same for every candidate, so it is the item-by-item *difference* that counts, which
    cancels what is hard for all. Degrees of freedom follow Satterthwaite (1946).

When a winner is named
    Only when the best candidate differs from *every* other one at the 5% level after Holm's correction (1979), and
    by more than half a percent of the score: what is smaller decides nothing, and close to a perfect score three
    seeds tell too little of the spread. Otherwise the verdict is "too close to call" and names the group that the
    data cannot separate. Where some reference predictor is beaten by no candidate, by the same rule, the verdict
    says that no sequence model is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from anyformer.compare.results import (
    CandidateResult,
    Contrast,
    MetricFacts,
    ReferenceResult,
    Sample,
    Standing,
    Verdict,
)
from anyformer.compare.words import amount, format_scores, join, rate, score_with_unit

LEVEL = 0.05
SMALLEST = 0.005
"""Differences below this share of the larger score are too small to matter."""
ROUND_OFF = 1e-9
"""Relative differences below this are arithmetic, not evidence."""


@dataclass(frozen=True)
class Row:
    """Something with scores on the shared test set: a candidate with its seeds, or a reference with one score."""

    name: str
    samples: tuple[Sample, ...]
    is_reference: bool = False

    @property
    def score(self) -> float:
        return float(np.mean([sample.score for sample in self.samples]))


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and degrees of freedom."""

    mean: float
    error: float
    freedom: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        reach = self.error * float(special.stdtrit(self.freedom, 1 - level / 2))
        return self.mean - reach, self.mean + reach

    @property
    def p(self) -> float:
        return float(2 * special.stdtr(self.freedom, -abs(self.mean) / self.error))


def estimate(row: Row) -> Estimate:
    """The score of one row, with the variation over seeds and over test items."""
    return _combine(row.score, [_seed_part(row), _item_part(_residuals(row))], scale=abs(row.score))


def difference(a: Row, b: Row) -> Estimate:
    """The score of ``a`` minus that of ``b``; test items pair up, seeds do not."""
    left, right = _residuals(a), _residuals(b)
    if left is not None and right is not None and len(left) == len(right):
        items = [_item_part(left - right)]
    else:
        items = [_item_part(left), _item_part(right)]
    scale = max(abs(a.score), abs(b.score))
    return _combine(a.score - b.score, [_seed_part(a), _seed_part(b), *items], scale=scale)


def _seed_part(row: Row) -> tuple[float, int]:
    """Variance of the mean due to seeds, and its degrees of freedom; a reference has no seeds."""
    if row.is_reference:
        return 0.0, 0
    n = len(row.samples)
    if n < 2:
        return math.inf, 1
    return float(np.var([sample.score for sample in row.samples], ddof=1)) / n, n - 1


def _residuals(row: Row) -> np.ndarray | None:
    """What each group of test items adds to the error of the score, averaged over seeds (linearised ratio)."""
    if any(len(sample.sums) < 2 for sample in row.samples):
        return None
    sums = np.mean([sample.sums for sample in row.samples], axis=0)
    weights = np.mean([sample.weights for sample in row.samples], axis=0)
    return np.asarray((sums - sums.sum() / weights.sum() * weights) / weights.sum())


def _item_part(residuals: np.ndarray | None) -> tuple[float, int]:
    if residuals is None:
        return 0.0, 0
    groups = len(residuals)
    return float(np.sum(residuals**2)) * groups / (groups - 1), groups - 1


def _combine(mean: float, parts: Sequence[tuple[float, int]], *, scale: float) -> Estimate:
    """Adds variances; the effective degrees of freedom are Satterthwaite's."""
    variance = sum(part for part, _ in parts)
    floor = (ROUND_OFF * max(scale, 1e-30)) ** 2
    if not math.isfinite(variance):
        return Estimate(mean, math.inf, 1.0)
    if variance <= floor:
        return Estimate(mean, math.sqrt(floor), 1e6)
    spread = sum(part**2 / freedom for part, freedom in parts if freedom)
    return Estimate(mean, math.sqrt(variance), variance**2 / spread)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: reject those below the level, and the chance of any false one stays at it."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = highest
    return adjusted


def contrasts(pairs: Sequence[tuple[Row, Row]], *, higher_is_better: bool) -> list[Contrast]:
    """The first of each pair against the second, corrected for the number of pairs; in the order given."""
    sign = 1.0 if higher_is_better else -1.0
    estimates = [difference(one, other) for one, other in pairs]
    estimates = [Estimate(sign * e.mean, e.error, e.freedom) for e in estimates]
    found = []
    for (one, other), e, p in zip(pairs, estimates, holm([e.p for e in estimates]), strict=True):
        # The level at which this interval touches 0 exactly when the corrected p is LEVEL.
        level = LEVEL * min(1.0, e.p / p) if p > 0 else LEVEL / len(pairs)
        low, high = e.interval(level)
        smallest = SMALLEST * max(abs(one.score), abs(other.score))
        found.append(
            Contrast(
                better=one.name,
                other=other.name,
                difference=e.mean,
                low=low,
                high=high,
                p=p,
                smallest=smallest,
            )
        )
    return found


def _strongest(order: Sequence[Row], bench: Row, higher: bool) -> Contrast:
    """The best candidate that beats the reference against it; the best of all where none does."""
    found = contrasts([(row, bench) for row in order], higher_is_better=higher)
    return next((contrast for contrast in found if _beaten(contrast)), found[0])


def judge(
    metric: MetricFacts, candidates: Sequence[CandidateResult], references: Sequence[ReferenceResult]
) -> tuple[list[Standing], Verdict]:
    """The leaderboard, best first, and the verdict."""
    higher = metric.higher_is_better
    rows = [Row(c.name, tuple(run.test for run in c.runs)) for c in candidates if c.status == "ok" and c.runs]
    benches = [Row(r.name, (r.test,), is_reference=True) for r in references if r.test is not None]
    rows = [row for row in rows if math.isfinite(row.score)]
    benches = [row for row in benches if math.isfinite(row.score)]
    order = sorted(rows, key=lambda row: row.score, reverse=higher)
    if not order:
        return _board(benches, higher, set()), _nothing(metric, candidates, benches)
    best, others = order[0], order[1:]
    rivals = contrasts([(best, other) for other in others], higher_is_better=higher)
    against = [_strongest(order, bench, higher) for bench in benches]
    tied = [best.name, *(c.other for c in rivals if not _beaten(c))]
    unbeaten = [bench for bench, c in zip(benches, against, strict=True) if not _beaten(c)]
    board = _board([*rows, *benches], higher, {*(tied if len(tied) > 1 else ()), *(b.name for b in unbeaten)})
    if unbeaten:
        verdict = _no_model_needed(metric, best, tied, unbeaten, against)
    elif len(order) == 1:
        verdict = _single(metric, best, benches, against)
    elif len(tied) > 1:
        verdict = _too_close(metric, tied, candidates, rivals)
    else:
        verdict = _winner(metric, best, rivals)
    verdict.contrasts = [*rivals, *against]
    verdict.details += _more(metric, best, benches, against, candidates, verdict)
    return board, verdict


def _beaten(contrast: Contrast) -> bool:
    return contrast.difference > contrast.smallest and contrast.p < LEVEL


def _board(rows: Sequence[Row], higher: bool, tied: set[str]) -> list[Standing]:
    ordered = sorted(rows, key=lambda row: row.score, reverse=higher)
    board = []
    for rank, row in enumerate(ordered, start=1):
        e = estimate(row)
        low, high = e.interval() if math.isfinite(e.error) else (row.score, row.score)
        board.append(
            Standing(
                rank=rank,
                name=row.name,
                kind="reference" if row.is_reference else "candidate",
                score=row.score,
                low=low,
                high=high,
                tied_with_best=row.name in tied,
            )
        )
    return board


def _gap(metric: MetricFacts, contrast: Contrast) -> str:
    gap, low, high = format_scores(metric, [contrast.difference, contrast.low, contrast.high], digits=3)
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{gap}{unit} (95% interval {low} to {high})"


def _winner(metric: MetricFacts, best: Row, rivals: Sequence[Contrast]) -> Verdict:
    runner_up = rivals[0]
    return Verdict(
        kind="winner",
        winner=best.name,
        headline=f"{best.name} is the best: {metric.name} {score_with_unit(metric, best.score)}.",
        details=[f"It leads the runner-up, {runner_up.other}, by {_gap(metric, runner_up)}."],
    )


def _too_close(
    metric: MetricFacts, tied: list[str], candidates: Sequence[CandidateResult], rivals: Sequence[Contrast]
) -> Verdict:
    details = [_cheapest([c for c in candidates if c.name in tied])]
    behind = [c for c in rivals if c.other not in tied]
    if behind:
        gaps = join([f"{c.other} by {_gap(metric, c)}" for c in sorted(behind, key=lambda c: c.difference)])
        details.append(f"Behind {tied[0]} beyond doubt: {gaps}.")
    return Verdict(
        kind="too_close",
        headline=f"Too close to call: {join(tied)} cannot be told apart.",
        details=[text for text in details if text],
        tied=tied,
    )


def _cheapest(group: Sequence[CandidateResult]) -> str:
    """Which of a tied group to take: the one that trains fastest, and the one that answers fastest."""
    training = [c for c in group if c.costs.train_tokens_per_second]
    serving = [c for c in group if c.costs.token_latency_ms]
    if not training:
        return ""
    quick = max(training, key=lambda c: c.costs.train_tokens_per_second or 0.0)
    text = f"The cheapest of them to train is {quick.name} ({rate(quick.costs.train_tokens_per_second)} tokens/s)"
    if serving:
        prompt = min(serving, key=lambda c: c.costs.token_latency_ms or 0.0)
        latency = f"{amount(prompt.costs.token_latency_ms)} ms a token"
        same = prompt.name == quick.name
        text += (
            f", which also streams fastest ({latency})"
            if same
            else f"; {prompt.name} streams fastest ({latency})"
        )
    return text + "."


def _single(metric: MetricFacts, best: Row, benches: Sequence[Row], against: Sequence[Contrast]) -> Verdict:
    headline = f"{best.name} scores {metric.name} {score_with_unit(metric, best.score)}"
    headline += " and beats every reference." if benches else "."
    return Verdict(
        kind="single", headline=headline, details=["No other candidate finished to compare it with."]
    )


def _no_model_needed(
    metric: MetricFacts, best: Row, tied: list[str], unbeaten: Sequence[Row], against: Sequence[Contrast]
) -> Verdict:
    top = sorted(unbeaten, key=lambda row: row.score, reverse=metric.higher_is_better)[0]
    contrast = next(c for c in against if c.other == top.name)
    ahead = contrast.difference < 0 and contrast.p < LEVEL
    relation = "is better than every candidate" if ahead else "is not beaten by any candidate"
    behind = contrast.difference < 0
    if behind:
        mirrored = {"difference": -contrast.difference, "low": -contrast.high, "high": -contrast.low}
        contrast = contrast.model_copy(update=mirrored)
    text = (
        f"The best candidate, {best.name}, scores {score_with_unit(metric, best.score)}, "
        f"{'behind' if behind else 'ahead of'} {top.name} by {_gap(metric, contrast)}."
    )
    return Verdict(
        kind="no_model_needed",
        headline=f"No sequence model is needed here: the reference “{top.name}” "
        f"({metric.name} {score_with_unit(metric, top.score)}) {relation}.",
        details=[text, "This holds for this budget; a longer one may let a candidate pass it."],
        tied=tied if len(tied) > 1 else [],
    )


def _nothing(metric: MetricFacts, candidates: Sequence[CandidateResult], benches: Sequence[Row]) -> Verdict:
    details = []
    if benches:
        top = sorted(benches, key=lambda row: row.score, reverse=metric.higher_is_better)[0]
        details.append(
            f"The best reference is “{top.name}”: {metric.name} {score_with_unit(metric, top.score)}."
        )
    details += _failures(candidates)
    return Verdict(
        kind="nothing", headline="No candidate finished, so there is nothing to compare.", details=details
    )


def _failures(candidates: Sequence[CandidateResult]) -> list[str]:
    failed = [c.name for c in candidates if c.status != "ok"]
    return [f"Did not finish: {join(failed)} (the reasons are in the report)."] if failed else []


def _more(
    metric: MetricFacts,
    best: Row,
    benches: Sequence[Row],
    against: Sequence[Contrast],
    candidates: Sequence[CandidateResult],
    verdict: Verdict,
) -> list[str]:
    details = []
    if benches and verdict.kind in ("winner", "too_close", "single"):
        top = sorted(benches, key=lambda row: row.score, reverse=metric.higher_is_better)[0]
        contrast = next(c for c in against if c.other == top.name)
        details.append(
            f"The best reference, {top.name}, scores {score_with_unit(metric, top.score)}; "
            f"{contrast.better} beats it by {_gap(metric, contrast)}."
        )
    return details + _failures(candidates)
