"""What several figures read out of the results."""

from __future__ import annotations

from anyformer.compare.results import CandidateResult, MetricFacts, TaskResult
from anyformer.compare.results.formats import metric_title


def finished(result: TaskResult) -> list[CandidateResult]:
    """The candidates that have scores."""
    return [c for c in result.candidates if c.status == "ok" and c.runs]


def metric_label(metric: MetricFacts) -> str:
    """The title of an axis that shows the metric."""
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    return f"{metric_title(metric)}, {direction}"
