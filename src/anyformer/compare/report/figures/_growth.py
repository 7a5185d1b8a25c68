"""Small log-log plots of costs that grow with the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anyformer.compare.report.figures._shared import finished
from anyformer.compare.report.plotting import (
    Figure,
    Plot,
    Style,
    View,
    axis,
    figure,
    length_ticks,
    log_ticks,
)
from anyformer.compare.results import CandidateResult, TaskResult
from anyformer.compare.results.formats import size


def growth_plot(
    result: TaskResult,
    look: Mapping[str, Style],
    title: str,
    label: str,
    read: Callable[[CandidateResult], Mapping[int, float]],
    text: Callable[[float], str],
    order: float,
) -> Plot | None:
    """Plot a cost of each candidate at doubling lengths; None if no candidate has two of them.

    Args:
        label: title of the y axis.
        read: returns a candidate's cost by length.
        text: formats a cost.
        order: position on the page.
    """
    series = {c.name: {n: v for n, v in read(c).items() if v > 0} for c in finished(result)}
    series = {name: points for name, points in series.items() if len(points) > 1}
    if not series:
        return None
    return Plot(title, "", [View("", _growth_figure(series, look, label, text))], small=True, order=order)


def _growth_figure(
    series: Mapping[str, Mapping[int, float]],
    look: Mapping[str, Style],
    label: str,
    text: Callable[[float], str],
) -> Figure:
    traces = []
    for number, (name, points) in enumerate(series.items()):
        xs, style = sorted(points), look[name]
        # States are often equal; earlier lines are drawn wider, so that they show as an edge.
        under = min(len(series) - 1 - number, 4) if label.startswith("state") else 0
        traces.append(
            {
                "x": xs,
                "y": [points[n] for n in xs],
                "customdata": [text(points[n]) for n in xs],
                "mode": "lines+markers",
                "line": {"color": style.colour, "width": 2 + 1.1 * under, "dash": style.dash},
                "marker": {"symbol": style.marker, "size": 7 + 1.8 * under, "color": style.colour},
                "hovertemplate": f"<b>{name}</b><br>%{{customdata}} at length %{{x}}<extra></extra>",
                "meta": name,
            }
        )
    values = [v for points in series.values() for v in points.values()]
    lengths = [n for points in series.values() for n in points]
    base = 2 if text is size else 10
    x = axis("sequence length (tokens)", log=True, **length_ticks(lengths))
    y = axis(label, log=True, **log_ticks(values, text, base))
    drawn = figure(traces, x, y, height=320)
    drawn["layout"]["margin"] = {"l": 58, "r": 12, "t": 8, "b": 48}
    return drawn
