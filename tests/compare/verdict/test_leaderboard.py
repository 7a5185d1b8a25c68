"""Rows of the leaderboard: their order and their ties."""

from __future__ import annotations

import math

from anyformer.compare.results import Sample
from anyformer.compare.verdict.confidence_intervals import ScoredEntry
from anyformer.compare.verdict.leaderboard import leaderboard_of, ordered
from anyformer.metrics import MetricInfo

ERROR = MetricInfo(name="error", higher_is_better=False)


def entry(name: str, *scores: float) -> ScoredEntry:
    return ScoredEntry(name, tuple(Sample(score=score) for score in scores), is_reference=len(scores) == 1)


def test_rows_are_sorted_by_the_metric_and_what_is_not_finite_is_left_out() -> None:
    entries = [entry("worse", 3.0, 3.1, 3.0), entry("broken", math.nan, 1.0), entry("best", 1.0, 1.1, 1.0)]
    assert [e.name for e in ordered(ERROR, entries)] == ["best", "worse"]


def test_ties_are_marked_and_intervals_hold_the_score() -> None:
    entries = [entry("a", 1.0, 1.2, 1.1), entry("b", 1.0, 1.25, 1.1), entry("c", 3.0, 3.1, 3.0)]
    rows = leaderboard_of(ERROR, entries, entries[:2])
    assert [(row.rank, row.name, row.tied_with_best) for row in rows] == [
        (1, "a", True),
        (2, "b", True),
        (3, "c", False),
    ]
    assert all(row.low < row.score < row.high for row in rows)
    assert not any(row.tied_with_best for row in leaderboard_of(ERROR, entries))
