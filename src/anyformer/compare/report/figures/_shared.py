"""Functions of results that several figures use."""

from __future__ import annotations

from anyformer.compare.results import CandidateResult, TaskResult
from anyformer.compare.results.formats import metric_title
from anyformer.metrics import MetricInfo


def finished(result: TaskResult) -> list[CandidateResult]:
    """Return the candidates that have scores."""
    return [c for c in result.candidates if c.status == "ok" and c.runs]


def metric_label(metric: MetricInfo) -> str:
    """Return the title of an axis of the metric."""
    return f"{metric_title(metric)}, {metric.direction}"
