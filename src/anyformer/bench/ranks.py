"""Mean ranks over several comparisons, as the literature of time series classification states them (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from anyformer.bench.report import BenchTable
from anyformer.compare import TaskResult

OURS = "our best"
FEWEST = 5
"""Fewest comparisons by one metric of which mean ranks are told."""


def ranks_table(results: Sequence[TaskResult]) -> BenchTable | None:
    """Return the mean rank of our best and of each reference, by metric; None with fewer than ``FEWEST`` comparisons.

    Ranks are among our best and the references that all comparisons by that metric have; equal scores share the mean
    of their ranks.
    """
    table = BenchTable(
        "Mean ranks",
        ("metric", "of", "mean rank", "comparisons"),
        "Among the best of ours and the references that all these comparisons have; of equal scores each has the mean "
        "of their ranks, and 1 is the best.",
    )
    for name in dict.fromkeys(result.task.metric.name for result in results):
        boards = [_scores(result) for result in results if result.task.metric.name == name]
        boards = [board for board in boards if OURS in board]
        shared = [who for who in (boards[0] if boards else ()) if all(who in board for board in boards)]
        if len(boards) < FEWEST or len(shared) < 2:
            continue
        ranks = np.mean([rankdata([-board[who] for who in shared]) for board in boards], 0)
        for mean, who in sorted(zip(ranks.tolist(), shared, strict=True)):
            table.add(name, who, f"{mean:.2f}", str(len(boards)))
    return table if table.rows else None


def _scores(result: TaskResult) -> dict[str, float]:
    """Return the scores of our best and of the references, larger ones better."""
    found: dict[str, float] = {}
    for row in result.leaderboard:
        found.setdefault(row.name if row.kind == "reference" else OURS, result.task.metric.sign * row.score)
    return found
