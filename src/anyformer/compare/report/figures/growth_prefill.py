"""Time to read a prompt, by its length."""

from __future__ import annotations

from collections.abc import Mapping

from anyformer.compare.report.figures import register_figure
from anyformer.compare.report.figures._growth import growth_plot
from anyformer.compare.report.plotting import (
    Plot,
    Style,
)
from anyformer.compare.results import TaskResult
from anyformer.compare.results.formats import amount


@register_figure("growth_prefill")
def growth_prefill(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Plot the time to read a prompt against its length."""
    return growth_plot(
        result, look, "Reading a prompt", "time (ms)", lambda c: c.costs.prefill_ms, amount, order=1
    )
