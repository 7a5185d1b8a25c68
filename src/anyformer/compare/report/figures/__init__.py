"""The report's figures, one file each, named by its id; ``docs/add_a_figure.md`` adds one.

A figure is a function of the results of a task and the style of each candidate. It returns None if there is nothing
to show, so that the report never has an empty plot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from anyformer.compare.report.plotting import Plot, Style
from anyformer.compare.results import TaskResult
from anyformer.registry import Registry, modules_in

Draw = Callable[[TaskResult, Mapping[str, Style]], Plot | None]

figures: Registry[Draw] = Registry("figure", modules_in(__name__, __path__))
register_figure, list_figures = figures.register, figures.ids


def draw_figures(result: TaskResult, look: Mapping[str, Style]) -> list[Plot]:
    """Draw all registered figures that have anything to show, sorted by ``order``, then by id."""
    drawn = [(entry.id, entry.target(result, look)) for entry in figures]
    plots = [replace(plot, id=id) for id, plot in drawn if plot is not None]
    return sorted(plots, key=lambda plot: (plot.order, plot.id))
