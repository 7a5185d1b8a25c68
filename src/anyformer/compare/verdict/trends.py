"""Growth of a candidate's score with the steps of its training, and what the next doubling would bring.

A curve flattens because the learning rate falls, so that its end says little. Complete runs of different lengths say
more: the two rounds of the search for a learning rate and the full runs, each with its whole schedule. The gain with
each doubling of the steps shrinks from doubling to doubling by a constant factor, as in a power law a + b * steps**-c;
the next doublings are extrapolated from the last three lengths. Growth within twice its standard error, over seeds,
counts as none, and so does that of a candidate most of whose runs had better weights before their end.

The 95% interval of the next gain is a bootstrap. Validation samples are drawn again, the same ones for all runs, as the
same samples are hard for all. The deviation over seeds is that of the full runs, drawn from its distribution given so
few of them (a scaled inverse chi-square); a run of the search has one seed, and the full runs the mean of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import numpy as np

from anyformer.compare.results import CandidateResult, SearchRun, SeedRun, Trend
from anyformer.compare.results.formats import format_scores, score_with_unit
from anyformer.compare.verdict.confidence_intervals import LEVEL
from anyformer.metrics import MetricInfo

HORIZON = 3
"""Doublings of the steps for which growth is extrapolated."""
DRAWS = 2000
"""Draws of the bootstrap."""
Length = tuple[int, float]
"""Steps of a complete run, and its score."""


def growth(lengths: Sequence[Length], noise: float = 0.0) -> list[float]:
    """Extrapolate the gains of the next ``HORIZON`` doublings of the steps.

    Args:
        lengths: steps and scores of complete runs; higher scores are better.
        noise: standard error of a difference between two of the scores.

    Returns:
        The gains; [] if every run is more than half as long as the longest, which gives no slope.
    """
    points = _last_three(lengths)
    if len(points) < 2:
        return []
    if points[-1][1] - points[-2][1] <= 2 * noise:
        return [0.0] * HORIZON
    steps = [n for n, _ in points]
    return [
        float(_gain(steps, np.array([score for _, score in points]), number)) for number in range(HORIZON)
    ]


def _last_three(lengths: Sequence[Length]) -> list[Length]:
    """Return the longest runs and at most two others, of which the longer is at most half as long."""
    *shorter, last = sorted(lengths)
    return [*[point for point in shorter if last[0] >= 2 * point[0]][-2:], last]


def _gain(steps: Sequence[int], scores: np.ndarray, number: int = 0) -> np.ndarray:
    """Extrapolate the gain of a doubling, where ``number`` others come before it.

    Args:
        steps: two or three lengths, ascending.
        scores: ``(len(steps), ...)``, higher is better.
        number: doublings before it.
    """
    *_, before, now = steps
    doublings = math.log2(now / before)
    gain = (scores[-1] - scores[-2]) / doublings
    shrinks = np.ones_like(gain)
    if len(steps) == 3:
        earlier = (scores[1] - scores[0]) / math.log2(before / steps[0])
        shrinking = (earlier > 0) & (gain > 0)
        ratio = np.minimum(1.0, gain / np.where(shrinking, earlier, 1.0))
        shrinks = np.where(shrinking, ratio, 1.0) ** (2 / math.log2(now / steps[0]))
    found: np.ndarray = gain * shrinks ** (doublings / 2 + number + 0.5)
    return found


def trend_of(candidate: CandidateResult, metric: MetricInfo) -> Trend | None:
    """Return the growth of a candidate's validation score; None if it has no full runs, or was stopped."""
    sign, alike = metric.sign, _alike(candidate)
    valid = [run.valid for run in alike if run.valid is not None and math.isfinite(run.valid)]
    losses = [run.valid_loss for run in alike if run.valid_loss is not None]
    if candidate.status != "ok" or candidate.stopped or not valid or not candidate.runs[0].curve:
        return None
    steps = candidate.runs[0].curve[-1].step
    searched = [run for run in _searched(candidate) if run.steps < steps]
    scores = [(run.steps, sign * run.score) for run in searched if run.score is not None]
    lower = [(run.steps, -run.loss) for run in searched if run.loss is not None]
    known = candidate.untrained if candidate.untrained is not None else math.nan
    falls = growth([*lower, (steps, -fmean(losses))], _noise(losses)) if losses else []
    gains = growth([*scores, (steps, sign * fmean(valid))], _noise(valid))
    over = 2 * sum(run.best_step != run.steps for run in candidate.runs) > len(candidate.runs)
    if over:
        gains, falls = [0.0] * HORIZON, []
    low, high = metric.limits
    room = max(0.0, (high if sign > 0 else -low) - sign * fmean(valid))
    if room == 0:
        falls = []  # nothing is better than the best score, however the loss falls
    return Trend(
        name=candidate.name,
        steps=steps,
        gains=_within(gains, room),
        learned=sign * (fmean(valid) - known) if math.isfinite(known) else None,
        noise=_noise(valid),
        loss_falls=-math.expm1(-falls[0] / max(abs(fmean(losses)), 1e-12)) if falls else 0.0,
        over=over,
        next=_next_gain(candidate, searched, steps, sign, room),
    )


def _within(gains: Sequence[float], room: float) -> list[float]:
    """Return gains of which no more than ``room`` is left to the best score that there is."""
    found = list[float]()
    for gain in gains:
        found.append(min(gain, room - sum(found)))
    return found


def _alike(candidate: CandidateResult) -> list[SeedRun]:
    """Return the full runs at the learning rate of the first seed, whose runs in the search they go on with."""
    return [run for run in candidate.runs if run.learning_rate in (None, candidate.learning_rate)]


def _searched(candidate: CandidateResult) -> Iterable[SearchRun]:
    """Yield the first seed's runs at the chosen learning rate, or else at the best one, one of each length."""
    search = [run for run in candidate.search if run.seed is None]
    for steps in sorted({run.steps for run in search}):
        runs = [run for run in search if run.steps == steps and run.loss is not None]
        best = min(runs, key=lambda r: (r.learning_rate != candidate.learning_rate, r.loss), default=None)
        if best is not None:
            yield best


def _noise(values: Sequence[float]) -> float:
    """Return the standard error of the difference between one run and the mean of these."""
    return stdev(values) * math.sqrt(1 + 1 / len(values)) if len(values) > 1 else 0.0


def _next_gain(
    candidate: CandidateResult, searched: Sequence[SearchRun], steps: int, sign: int, room: float
) -> tuple[float, float, float] | None:
    """Return the gain of the next doubling and the ends of its interval; None if runs have no samples in common."""
    used = [run for run in searched if steps >= 2 * run.steps][-2:]
    full = [run.valid_sample for run in _alike(candidate)]
    samples = [one for one in [*(run.valid_sample for run in used), *full] if one is not None]
    if not used or len(full) < 2 or len(samples) < len(used) + len(full):
        return None
    if len({len(one.sums) for one in samples}) > 1 or len(samples[0].sums) < 2:
        return None
    sums, weights = (np.array([getattr(one, name) for one in samples]) for name in ("sums", "weights"))
    S, pieces, rng = len(full), sums.shape[1], np.random.default_rng(0)
    scores = sign * np.array([one.score for one in samples])
    drawn = rng.multinomial(pieces, np.full(pieces, 1 / pieces), DRAWS).T  # (pieces, draws)
    found = sign * (sums @ drawn) / np.maximum(weights @ drawn, 1e-12)
    found = scores[:, None] + (found - scores[:, None]) * math.sqrt(pieces / (pieces - 1))
    spread = np.std(scores[-S:], ddof=1) * np.sqrt((S - 1) / rng.chisquare(S - 1, DRAWS))
    shorter = found[:-S] + spread * rng.normal(size=(len(used), DRAWS))
    last = found[-S:].mean(0) + spread / math.sqrt(S) * rng.normal(size=DRAWS)
    lengths = [*(run.steps for run in used), steps]
    gains = _gain(lengths, np.concatenate([shorter, last[None]]))
    gain = _gain(lengths, np.append(scores[:-S], scores[-S:].mean()))
    low, high = np.quantile(gains, [LEVEL / 2, 1 - LEVEL / 2])
    if not np.isfinite([gain, low, high]).all():
        return None
    return (
        min(float(gain), room),
        min(float(low), float(gain), room),
        min(max(float(high), float(gain)), room),
    )


def is_known(trend: Trend) -> bool:
    """Return True if more is known of the next doubling than a guess."""
    return trend.over or trend.next is not None


def next_words(metric: MetricInfo, trend: Trend) -> str:
    """Return what the next doubling of a candidate's steps would bring, as a sentence without its full stop."""
    if trend.over:
        return f"{trend.name}: longer training would bring nothing, as most of its runs were best before their end"
    text = f"{trend.name}: the next doubling of its steps would change its {metric.name} by"
    if trend.next is None:
        gained = score_with_unit(metric, metric.sign * trend.gains[0]) if trend.gains else "an unknown amount"
        return f"{text} about {gained}"
    gain, *ends = (metric.sign * value for value in trend.next)
    change, low, high = format_scores(metric, [gain, *sorted(ends)], digits=3)
    unit = f" {metric.unit}" if metric.unit else ""
    if min(ends) <= 0 <= max(ends):
        return f"{text} no more than noise (95% interval {low} to {high}{unit})"
    return f"{text} about {change}{unit} (95% interval {low} to {high})"
