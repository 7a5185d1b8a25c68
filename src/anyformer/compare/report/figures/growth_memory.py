"""Peak memory of a training step, by the length."""

from __future__ import annotations

from collections.abc import Mapping

from anyformer.compare.report.figures import register_figure
from anyformer.compare.report.figures._growth import growth_plot
from anyformer.compare.report.plotting import (
    Plot,
    Style,
)
from anyformer.compare.results import TaskResult
from anyformer.compare.results.formats import size


@register_figure("growth_memory")
def growth_memory(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Plot the peak memory of a training step against the length."""
    return growth_plot(
        result, look, "Memory to train on it", "peak memory", lambda c: c.costs.memory_bytes, size, order=2
    )
