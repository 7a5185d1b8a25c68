"""The leaderboard: candidates and references, best first, with those that are tied for best marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anyformer.compare.results import Contrast, EarlyStop, Standing
from anyformer.compare.verdict.confidence_intervals import ScoredEntry, estimate
from anyformer.compare.verdict.significance import contrasts
from anyformer.metrics import MetricInfo


def leaderboard_of(
    metric: MetricInfo,
    entries: Sequence[ScoredEntry],
    tied: Sequence[ScoredEntry] = (),
    stopped: Mapping[str, EarlyStop] | None = None,
) -> list[Standing]:
    """Return the rows of entries that are ordered best first.

    Args:
        metric: of the scores.
        entries: candidates and references.
        tied: those tied for best, see :class:`anyformer.compare.verdict.ties.Ties`.
        stopped: candidates that were not trained to the end, by name.
    """
    stopped = stopped or {}
    leaderboard = []
    for rank, entry in enumerate(entries, start=1):
        low, high = estimate(entry, metric.limits).interval()
        leaderboard.append(
            Standing(
                rank=rank,
                name=entry.name,
                kind="reference" if entry.is_reference else "candidate",
                score=entry.score,
                low=low,
                high=high,
                tied_with_best=entry in tied,
                stopped_at=stopped[entry.name].steps
                if entry.name in stopped and not entry.is_reference
                else None,
            )
        )
    return leaderboard


def ordered(metric: MetricInfo, entries: Sequence[ScoredEntry]) -> list[ScoredEntry]:
    """Sort the entries with a finite score, best first."""
    known = [entry for entry in entries if math.isfinite(entry.score)]
    return sorted(known, key=lambda entry: entry.score, reverse=metric.higher_is_better)


def contrasts_by(metric: MetricInfo, pairs: Sequence[tuple[ScoredEntry, ScoredEntry]]) -> list[Contrast]:
    """Compare the first of each pair with the second, by a metric."""
    return contrasts(pairs, higher_is_better=metric.higher_is_better, limits=metric.limits)
