"""Candidates too far behind to win at the pace of their curves, found at a leg's end from validation scores alone.

A candidate is stopped if, on the validation samples of the learning curves,

- it is behind the best by more than it could still gain, beyond the noise over seeds and samples: the lower end of the
  interval of the gap is above ``ALLOWANCE`` times what it gained in the last doubling of its steps, for every doubling
  that is left. The interval is that of the judge, at 5% divided by the number of the other candidates and of such
  decisions (Bonferroni), so that a candidate that is as good as the best is stopped at most one time in twenty;
- no candidate's curve has a jump, a gain of more than the share ``JUMP`` of all it learned within one doubling of the
  steps: what is learned suddenly by one may be so by another, whose curve tells nothing of it before;
- and it has begun to learn: its gain since before training is at least the share ``BEGUN`` of that of the best. Some
  things, such as recall, are learned suddenly after a long time without any gain.

The best ``KEPT`` candidates are never stopped, so that a winner is always found among equally trained ones. Optuna's
pruners know one score for each trial and step: they have no notion of the noise of a score over seeds and samples, nor
of what a curve can still gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from anyformer.compare.plan.schema import Leg
from anyformer.compare.results import CandidateResult, EarlyStop
from anyformer.compare.results.formats import join, score_with_unit
from anyformer.compare.run.unit import Trained
from anyformer.compare.verdict.confidence_intervals import LEVEL, ScoredEntry
from anyformer.compare.verdict.leaderboard import ordered
from anyformer.compare.verdict.significance import advantage
from anyformer.metrics import MetricInfo

KEPT = 2
"""Candidates that are always trained to the end."""
DECISIONS = 3
"""Most decisions in a comparison: legs end there before the learning rate falls."""
ALLOWANCE = 2.0
"""What a candidate can still gain in a doubling of its steps, over what it gained in the last one: the learning rate
falls at the end, which gains more."""
JUMP = 0.5
"""Share of all that a run learned which is a jump, where it is gained within one doubling after the curve's begin."""
BEGUN = 0.1
"""Share of the best's gain since before training, below which a candidate has not begun to learn."""


def find_stopped(
    metric: MetricInfo,
    leg: Leg,
    runs: Mapping[str, Sequence[Trained]],
    untrained: Mapping[str, float | None],
) -> dict[str, EarlyStop]:
    """Return the candidates that are stopped at the end of a leg.

    Args:
        metric: the task's.
        leg: the leg.
        runs: the full runs by candidate, of those that are still trained.
        untrained: validation scores before training, by candidate.
    """
    known = [
        ScoredEntry(name, samples)
        for name, legs in runs.items()
        if len(samples := tuple(found.valid for found in legs if found.valid)) == len(legs)
    ]
    order, stopped = ordered(metric, known), {}
    if any(_jumps(metric, runs[entry.name], _learned(metric, entry, untrained)) for entry in order):
        return {}
    for entry in order[KEPT:]:
        gap = advantage(
            order[0], entry, higher_is_better=metric.higher_is_better, limits=metric.limits
        ).interval(LEVEL / DECISIONS / (len(order) - 1))[0]
        begun = _learned(metric, entry, untrained) >= BEGUN * _learned(metric, order[0], untrained)
        if begun and gap > ALLOWANCE * _gain(metric, leg, runs[entry.name]):
            behind = metric.sign * (order[0].score - entry.score)
            stopped[entry.name] = EarlyStop(steps=leg.steps, behind=behind, best=order[0].name)
    return stopped


def _learned(metric: MetricInfo, entry: ScoredEntry, untrained: Mapping[str, float | None]) -> float:
    """Return the gain since before training; NaN if that is unknown, which is never enough."""
    before = untrained.get(entry.name)
    return math.nan if before is None else metric.sign * (entry.score - before)


def _jumps(metric: MetricInfo, legs: Sequence[Trained], learned: float) -> bool:
    """Return True if a run gained more than ``JUMP`` of what was learned within one doubling of its steps."""
    for found in legs:
        points = [(p.step, metric.sign * p.valid) for p in found.curve if p.valid is not None]
        gains = [b - a for n, a in points for m, b in points if n < m <= 2 * n]
        if max(gains, default=0.0) > JUMP * learned:
            return True
    return False


def _gain(metric: MetricInfo, leg: Leg, legs: Sequence[Trained]) -> float:
    """Return the gain in the last doubling of the steps, times the doublings that are left; infinite if unknown."""
    gains = []
    for found in legs:
        points = [(p.step, metric.sign * p.valid) for p in found.curve if p.valid is not None]
        half = [point for point in points if 2 * point[0] <= points[-1][0]]
        if not half:
            return math.inf
        doublings = math.log2(points[-1][0] / half[-1][0])
        gains.append((points[-1][1] - half[-1][1]) / doublings)
    return max(0.0, fmean(gains)) * math.log2(leg.planned / leg.steps)


def stopped_words(metric: MetricInfo, candidates: Sequence[CandidateResult]) -> list[str]:
    """Tell which candidates were stopped, in a sentence; no sentence if none was."""
    told = [
        f"{c.name} at step {c.stopped.steps:,}, {score_with_unit(metric, c.stopped.behind)} behind {c.stopped.best}"
        for c in candidates
        if c.status == "ok" and c.stopped is not None
    ]
    if not told:
        return []
    return [
        f"Stopped before the end, too far behind to catch up at the pace of their curves: {join(told)}. They are "
        "scored as they were then. What is learnt suddenly is missed so: --equal steps trains all to the end."
    ]
