"""What several figures read out of the results."""

from __future__ import annotations

from anyformer.compare.results import CandidateResult, TaskResult
from anyformer.compare.results.formats import metric_title
from anyformer.metrics import MetricInfo


def finished(result: TaskResult) -> list[CandidateResult]:
    """The candidates that have scores."""
    return [c for c in result.candidates if c.status == "ok" and c.runs]


def metric_label(metric: MetricInfo) -> str:
    """The title of an axis that shows the metric."""
    return f"{metric_title(metric)}, {metric.direction}"
