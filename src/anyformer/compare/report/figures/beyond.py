"""Scores at lengths never trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from anyformer.compare.report.figures import register_figure
from anyformer.compare.report.figures._shared import finished, metric_label
from anyformer.compare.report.plotting import (
    MUTED,
    Figure,
    Plot,
    Style,
    View,
    axis,
    figure,
    length_ticks,
)
from anyformer.compare.results import SeedRun, TaskResult


@register_figure("beyond")
def beyond(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Plot the score at the trained length and at lengths never trained on."""
    metric, trained = result.task.metric, result.task.train_length
    traces, lengths = [], {trained}
    for c in finished(result):
        measured = _by_length(c.runs)
        if not measured:
            continue
        points = {trained: [run.test.score for run in c.runs], **measured}
        lengths |= set(points)
        traces.append(_length_trace(c.name, look[c.name], points))
    if not traces:
        return None
    lines = [
        _reference_trace(r.name, {trained: r.test.score, **{n: s.score for n, s in r.by_length.items()}})
        for r in result.references
        if r.test is not None and r.by_length
    ]
    marker = {"color": "#8a939c", "width": 1.2, "dash": "dot"}
    shape = {"type": "line", "x0": trained, "x1": trained, "yref": "paper", "y0": 0, "y1": 1, "line": marker}
    note = {
        "x": math.log10(trained),
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": "trained length",
        "showarrow": False,
        "font": {"size": 11, "color": MUTED},
    }
    x = axis("sequence length (tokens)", log=True, **length_ticks(sorted(lengths)))
    drawn = figure(lines + traces, x, axis(metric_label(metric)), shapes=[shape], annotations=[note])
    drawn["layout"]["margin"]["t"] = 28
    caption = "The same models on longer sequences than they were trained on. Bars span the lowest and highest seed."
    return Plot("Beyond the trained length", caption, [View("", drawn)], order=3)


def _by_length(runs: Sequence[SeedRun]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for run in runs:
        for length, sample in run.by_length.items():
            if math.isfinite(sample.score):
                found.setdefault(length, []).append(sample.score)
    return found


def _length_trace(name: str, style: Style, points: Mapping[int, list[float]]) -> Figure:
    xs = sorted(points)
    means = [float(np.mean(points[n])) for n in xs]
    return {
        "x": xs,
        "y": means,
        "mode": "lines+markers",
        "line": {"color": style.colour, "width": 2.2, "dash": style.dash},
        "marker": {"symbol": style.marker, "size": 9, "color": style.colour},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(points[n]) - m for n, m in zip(xs, means, strict=True)],
            "arrayminus": [m - min(points[n]) for n, m in zip(xs, means, strict=True)],
            "color": style.colour,
            "thickness": 1.3,
            "width": 4,
        },
        "hovertemplate": f"<b>{name}</b><br>%{{y:.4~g}} at length %{{x}}<extra></extra>",
        "meta": name,
    }


def _reference_trace(name: str, points: Mapping[int, float]) -> Figure:
    xs = sorted(points)
    return {
        "x": xs,
        "y": [points[n] for n in xs],
        "mode": "lines",
        "line": {"color": "#8a939c", "width": 1.4, "dash": "dash"},
        "hovertemplate": f"<b>{name}</b> (reference)<br>%{{y:.4~g}} at length %{{x}}<extra></extra>",
    }
