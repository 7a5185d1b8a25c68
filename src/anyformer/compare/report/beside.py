"""Metrics besides the one that ranks, as a table."""

from __future__ import annotations

import math
from statistics import fmean

from anyformer.compare.results import TaskResult
from anyformer.compare.results import formats as words
from anyformer.metrics import MetricInfo


def beside_title(result: TaskResult) -> str:
    """Return a line over the table."""
    return f"Also measured, of {result.task.beside_items:,} test samples; means over seeds. Nothing is ranked by them."


def beside_columns(result: TaskResult) -> list[str]:
    """Return the names of the metrics that were measured of any candidate or reference, with their directions."""
    found = {name for values in _values(result).values() for name in values}
    return [
        f"{words.metric_title(metric)} {_direction(metric)}".rstrip()
        for metric in result.task.beside
        if metric.name in found
    ]


def _direction(metric: MetricInfo) -> str:
    """Return an arrow, or the best value of a metric that has no direction."""
    if metric.ranks:
        return "↑" if metric.higher_is_better else "↓"
    return "" if metric.best is None else f"(best: {metric.best:g})"


def beside_rows(result: TaskResult) -> list[tuple[str, list[str]]]:
    """Return a name and its figures for each row of the leaderboard, in its order; none if none was measured."""
    values = _values(result)
    shown = [metric for metric in result.task.beside if any(metric.name in row for row in values.values())]
    columns = {
        metric.name: words.format_scores(metric, [values[name].get(metric.name, math.nan) for name in values])
        for metric in shown
    }
    if not columns:
        return []
    return [(name, [texts[row] for texts in columns.values()]) for row, name in enumerate(values)]


def _values(result: TaskResult) -> dict[str, dict[str, float]]:
    """Return the values of each row of the leaderboard by metric."""
    runs = {c.name: [run.beside for run in c.runs] for c in result.candidates}
    runs |= {r.name: [r.beside] for r in result.references}
    return {
        row.name: {
            metric.name: fmean(run[metric.name] for run in runs[row.name])
            for metric in result.task.beside
            if runs[row.name] and all(metric.name in run for run in runs[row.name])
        }
        for row in result.leaderboard
    }
