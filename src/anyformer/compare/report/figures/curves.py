"""Learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from anyformer.compare.report.figures import register_figure
from anyformer.compare.report.figures._shared import finished, metric_label
from anyformer.compare.report.plotting import (
    Figure,
    Plot,
    Style,
    View,
    axis,
    figure,
)
from anyformer.compare.results import CandidateResult, Point, TaskResult


@register_figure("curves")
def curves(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Plot validation score and training loss against time and tokens; the band spans the seeds."""
    metric = result.task.metric
    measures: list[tuple[str, str, Callable[[Point], float | None]]] = [
        (metric.name, f"validation {metric_label(metric)}", lambda p: p.valid),
        ("training loss", "training loss", lambda p: p.train_loss),
    ]
    axes: list[tuple[str, str, Callable[[Point], float]]] = [
        ("time", "training time (s)", lambda p: p.seconds),
        ("tokens", "tokens seen", lambda p: float(p.tokens)),
    ]
    views = []
    for y_label, y_title, y in measures:
        for x_label, x_title, x in axes:
            traces = [t for c in finished(result) for t in _band(c, look[c.name], x, y)]
            if traces:
                drawn = figure(traces, axis(x_title, rangemode="tozero"), axis(y_title))
                views.append(View(f"{y_label} by {x_label}", drawn))
    if not views:
        return None
    return Plot(
        "Learning curves",
        "The line is the mean over seeds, the band spans the lowest and the highest seed.",
        views,
        order=2,
    )


def _band(
    candidate: CandidateResult,
    style: Style,
    x: Callable[[Point], float],
    y: Callable[[Point], float | None],
) -> list[Figure]:
    by_step: dict[int, list[tuple[float, float]]] = {}
    for run in candidate.runs:
        for point in run.curve:
            value = y(point)
            if value is not None and math.isfinite(value):
                by_step.setdefault(point.step, []).append((x(point), value))
    steps = [s for s in sorted(by_step) if len(by_step[s]) == len(candidate.runs)]
    if len(steps) < 2:
        return []
    xs = [float(np.mean([p[0] for p in by_step[s]])) for s in steps]
    ys = [[p[1] for p in by_step[s]] for s in steps]
    low, high = [min(v) for v in ys], [max(v) for v in ys]
    shared = {"meta": candidate.name}
    band = {
        **shared,
        "x": xs + xs[::-1],
        "y": high + low[::-1],
        "mode": "lines",
        "fill": "toself",
        "fillcolor": style.band,
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    line = {
        **shared,
        "x": xs,
        "y": [float(np.mean(v)) for v in ys],
        "mode": "lines+markers",
        "line": {"color": style.colour, "width": 2.2, "dash": style.dash},
        "marker": {"symbol": style.marker, "size": 6, "color": style.colour},
        "hovertemplate": f"<b>{candidate.name}</b><br>%{{y:.4~g}} at %{{x:.3~s}}<extra></extra>",
    }
    return [band, line]
