"""State of one sequence while streaming, by the length."""

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


@register_figure("growth_state")
def growth_state(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Plot the state of one sequence while streaming against the length."""
    return growth_plot(
        result,
        look,
        "State kept while streaming",
        "state of one sequence",
        lambda c: c.costs.state_bytes,
        size,
        order=3,
    )
