"""Detection of too little training for a verdict, from scores at different numbers of steps.

Growth of a candidate's score is extrapolated by :mod:`anyformer.compare.verdict.trends`.

There is too little training if
    (1) a reference is not beaten, and some candidate would pass it within three doublings, or the loss of one still
    falls by 3% or more in a doubling, unless another candidate is ahead of it by more than it gains in three;
    (2) a candidate that is behind, or tied, would catch up with the best in one doubling; or it still gains more in one
    than what separates them, and a tenth or more of all that it has learned since before training;
    (3) not even the simplest reference is beaten, and candidates have seen fewer than 20 tokens for each parameter
    (Hoffmann et al. 2022, section 3) and the training data fewer than three times: a flat curve is then no plateau;
    (4) the full runs are less than twice as long as those of the search, so that their growth is unknown, and no
    candidate is separated from the others.

A candidate that is separated from all others, or no longer improves, keeps its verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from anyformer.compare.plan.budget import BEFORE_DECAY, OVERHEAD, propose_time
from anyformer.compare.results import (
    CandidateResult,
    Contrast,
    ReferenceResult,
    SeedRun,
    Shortage,
    Standing,
    Trend,
    Verdict,
)
from anyformer.compare.results.formats import amount, join, steps_trained
from anyformer.compare.verdict.significance import beaten
from anyformer.compare.verdict.stopping import stopped_words
from anyformer.compare.verdict.trends import HORIZON, is_known, next_words, trend_of
from anyformer.metrics import MetricInfo

YOUNG = 0.1
"""Least gain in a doubling, as a share of all that was learned, that counts as fast growth."""
FALLING = 0.03
"""Least relative fall of the loss in a doubling that counts as falling."""
TOKENS_A_PARAMETER = 20
"""Tokens for each parameter after which a flat curve counts as a plateau."""
PASSES = 3
"""Passes over the training data after which a flat curve counts as a plateau."""
MOST_TOLD = 3
"""Most of the best candidates of which is said what more training would bring."""
MARGIN = 1.2
"""Proposed times, as a multiple of the time at the pace of the slowest stretch of the training."""
STARTING_SECONDS = 10.0
"""Seconds for processes to start and for the report, on an idle machine."""


@dataclass(frozen=True)
class Training:
    """The training of every full run: at least so much, as fast candidates take more steps in the same time.

    Attributes:
        steps: steps of a run.
        tokens: tokens of a run.
        passes: passes of a run over the training data; None for data that is generated without end.
        workers: runs at the same time.
        slowness: factor by which a busy machine slowed down the start of the comparison.
    """

    steps: int
    tokens: int
    passes: float | None
    workers: int
    slowness: float = 1.0

    def until_seen(self, parameters: int) -> float:
        """Return the doublings of the steps until a flat curve counts as a plateau; 0 if it does already."""
        lacking = TOKENS_A_PARAMETER * parameters / max(1, self.tokens)
        lacking = min(lacking, PASSES / self.passes) if self.passes else lacking
        return math.log2(max(1.0, lacking))


@dataclass(frozen=True)
class _Case:
    metric: MetricInfo
    verdict: Verdict
    scores: dict[str, float]
    """Test scores by name, with the sign with which higher is better."""
    trends: dict[str, Trend]
    reference_names: set[str]
    blank: float
    """Doublings until a flat curve counts as a plateau, see (3) above; 0 if it does already."""

    def doublings(self) -> float | None:
        """Return the number of doublings of the steps that are lacking; None if there was enough training.

        Where a reference cannot be passed, as nothing is better than its score, more training changes no verdict.
        """
        against = [
            c for c in self.verdict.contrasts if c.other in self.reference_names and c.other in self.scores
        ]
        if any(not beaten(contrast) and self._is_the_limit(contrast) for contrast in against):
            return None
        lacking = [
            found for contrast in self.verdict.contrasts if (found := self._lacking(contrast)) is not None
        ]
        return max(lacking, default=None)

    def _lacking(self, contrast: Contrast) -> float | None:
        if contrast.better not in self.scores or contrast.other not in self.scores:
            return None
        is_beaten = beaten(contrast)
        if contrast.other in self.reference_names:
            return None if is_beaten else self._to_pass(contrast)
        return self._to_settle(contrast, is_beaten=is_beaten)

    def _to_pass(self, contrast: Contrast) -> float | None:
        """Return the doublings until some candidate beats the reference of this contrast; None if none will."""
        margin = max(contrast.smallest, (contrast.high - contrast.low) / 2)
        margin = margin if math.isfinite(margin) else contrast.smallest
        lacking = []
        for trend in self.trends.values():
            needed = margin + self.scores[contrast.other] - self.scores[trend.name]
            lacking += [n for n in range(1, HORIZON + 1) if sum(trend.gains[:n]) >= needed][:1]
        if lacking:
            return min(lacking)
        near = [trend for trend in self.trends.values() if not self.is_far_behind(trend)]
        if any(not trend.gains or trend.loss_falls >= FALLING for trend in near):
            return max(HORIZON, self.blank)
        return self.blank or None

    def is_far_behind(self, trend: Trend) -> bool:
        """Return True if another candidate is ahead of it, by more than its gain in ``HORIZON`` doublings.

        That cannot be said where its growth is unknown, or its score is flat, as on a plateau.
        """
        ahead = [
            c
            for c in self.verdict.contrasts
            if c.other == trend.name and c.better in self.trends and beaten(c)
        ]
        gap = max((self.scores[c.better] - self.scores[trend.name] for c in ahead), default=-math.inf)
        return sum(trend.gains) > 0 and gap > sum(trend.gains)

    def _is_the_limit(self, contrast: Contrast) -> bool:
        """Return True if no score is better than that of the reference by what matters."""
        return self.scores[contrast.other] + contrast.smallest > self._best

    def rises(self, trend: Trend) -> bool:
        """Return True if a doubling of the steps would change the score by what matters, or the loss by ``FALLING``."""
        least = min((contrast.smallest for contrast in self.verdict.contrasts), default=0.0)
        return bool(trend.gains and trend.gains[0] > least) or trend.loss_falls >= FALLING

    @property
    def _best(self) -> float:
        """The best score that the metric has, higher is better."""
        low, high = self.metric.limits
        return high if self.metric.higher_is_better else -low

    def _to_settle(self, contrast: Contrast, *, is_beaten: bool) -> float | None:
        """Return the doublings that might separate two candidates or reverse their order; None if none will."""
        ahead, behind = (self.trends.get(name) for name in (contrast.better, contrast.other))
        if ahead is None or behind is None:
            return None
        if not (ahead.gains and behind.gains):
            return None if is_beaten else HORIZON
        catches_up = behind.gains[0] - ahead.gains[0]
        if is_beaten:
            return 1 if catches_up >= contrast.difference else None
        apart = max(contrast.smallest, (contrast.high - contrast.low) / 2)
        young = [
            trend
            for trend in (ahead, behind)
            if trend.learned is not None and trend.gains[0] >= YOUNG * max(trend.learned, 0.0)
        ]
        return 1 if any(trend.gains[0] > apart for trend in young) else None


def unless_undertrained(
    verdict: Verdict,
    leaderboard: Sequence[Standing],
    metric: MetricInfo,
    candidates: Sequence[CandidateResult],
    references: Sequence[ReferenceResult],
    training: Training,
) -> Verdict:
    """Return the verdict, or one of the kind ``undertrained`` in its place if there was too little training."""
    found = [trend for c in candidates if (trend := trend_of(c, metric)) is not None]
    sign = metric.sign
    # sizes agree, but for the tables that some have on top
    parameters = min((c.parameters or 0 for c in candidates if c.status == "ok"), default=0)
    case = _Case(
        metric,
        verdict,
        {row.name: sign * row.score for row in leaderboard},
        {trend.name: trend for trend in found},
        {reference.name for reference in references},
        blank=0.0 if _beats_some(verdict, references) else training.until_seen(parameters),
    )
    verdict.trends = found
    doublings = case.doublings() if found else None
    if doublings is None:
        of_best = [trend for trend in found if trend.name in verdict.best and is_known(trend)]
        verdict.details += [f"{next_words(metric, trend)}." for trend in of_best[:MOST_TOLD]]
        return verdict
    spent = sum(slowest_seconds(run) for c in candidates if c.status == "ok" for run in c.runs)
    further = OVERHEAD * spent / training.workers * (2**doublings - BEFORE_DECAY)
    seconds = MARGIN * (STARTING_SECONDS * training.slowness + further)
    shortage = Shortage(steps=math.ceil(training.steps * 2**doublings), seconds=seconds)
    steps = steps_trained(candidates, training.steps)
    return _undertrained(case, shortage, steps, stopped_words(metric, candidates))


def _state(case: _Case, rising: Sequence[Trend]) -> str:
    """Return how the candidates stand, as the rest of "each was trained for N steps"."""
    if rising:
        everyone = len(rising) == len(case.trends)
        return (
            " and still improving"
            if everyone
            else f", {join([trend.name for trend in rising])} still improving"
        )
    if not case.blank:
        return ", too few to see how they improve"
    if any((trend.learned or 0.0) > trend.noise for trend in case.trends.values()):
        return ", too few for a flat curve to mean that it stays flat"
    return " and had hardly begun to learn"


def slowest_seconds(run: SeedRun) -> float:
    """Return the seconds of a run at the pace of the slowest stretch of its curve, without the first one (warm-up)."""
    points = [(0, 0.0), *((point.step, point.seconds) for point in run.curve)]
    stretches = list(pairwise(points))
    paces = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in stretches[1:] or stretches if b[0] > a[0]]
    return max(run.seconds, max(paces, default=0.0) * points[-1][0])


def _beats_some(verdict: Verdict, references: Sequence[ReferenceResult]) -> bool:
    """Return True if some candidate beats some reference, or there is no reference."""
    names = {reference.name for reference in references}
    against = [contrast for contrast in verdict.contrasts if contrast.other in names]
    return not against or any(beaten(contrast) for contrast in against)


def _undertrained(case: _Case, shortage: Shortage, steps: str, stopped: list[str]) -> Verdict:
    waited_for = [trend for trend in case.trends.values() if not case.is_far_behind(trend)]
    rising = [trend for trend in waited_for if case.rises(trend)]
    state = _state(case, rising)
    time, option = propose_time(shortage.seconds)
    shortage.option = option
    if time == "more":
        advice = "more than 2 h would be needed"
    else:
        advice = f"about {time} would do"
    each = "it" if len(case.trends) == 1 else "each"
    each += " that was not stopped" if stopped else ""
    headline = f"Not enough training to tell: {each} was trained for {steps} steps{state}; {advice}."
    details = [
        "That time is estimated from the slowest stretch of the training, on a machine as busy as it was then, plus a "
        "fifth."
    ]
    unbeaten = [c.other for c in case.verdict.contrasts if c.other in case.reference_names and not beaten(c)]
    if unbeaten:
        details.append(f"So far no candidate beats {join([f'“{name}”' for name in unbeaten])}.")
    elif case.verdict.tied:
        details.append(f"So far {join(case.verdict.tied)} cannot be told apart.")
    elif case.verdict.winner:
        details.append(f"So far {case.verdict.winner} is ahead.")
    for trend in rising:
        text = next_words(case.metric, trend)
        details.append(f"{text}; its loss falls by {amount(100 * trend.loss_falls, 2)}% with it.")
    return case.verdict.model_copy(
        update={
            "kind": "undertrained",
            "headline": headline,
            "details": details + stopped,
            "winner": None,
            "tied": [],
            "shortage": shortage,
        }
    )
