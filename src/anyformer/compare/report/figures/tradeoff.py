"""Quality against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from anyformer.compare.report.figures import register_figure
from anyformer.compare.report.figures._shared import finished, metric_label
from anyformer.compare.report.plotting import (
    INK,
    MUTED,
    Figure,
    Plot,
    Style,
    View,
    axis,
    figure,
    log_ticks,
)
from anyformer.compare.results import CandidateResult, TaskResult
from anyformer.compare.results.formats import amount, format_score, size

COSTS: list[tuple[str, str, Callable[[CandidateResult], float | None], Callable[[float], str]]] = [
    ("Training time", "training time of one run (s)", lambda c: _mean([r.seconds for r in c.runs]), amount),
    ("Latency", "time for one streamed token (ms)", lambda c: c.costs.token_latency_ms, amount),
    ("Memory", "peak memory of a training step", lambda c: c.costs.peak_memory_bytes, size),
    (
        "FLOPs",
        "FLOPs for one token, forward (millions)",
        lambda c: _millions(c.costs.flops_per_token),
        amount,
    ),
]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _millions(value: float | None) -> float | None:
    return None if value is None else value / 1e6


@register_figure("tradeoff")
def tradeoff(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Plot the score against costs, one view for each kind of cost."""
    views = []
    for label, title, cost, text in COSTS:
        points = [(c, cost(c)) for c in finished(result)]
        known = [(c, float(value)) for c, value in points if value]
        if known:
            views.append(View(label, _tradeoff_view(result, look, known, title, text)))
    if not views:
        return None
    return Plot(
        "What you pay for what you get",
        "Each point is a candidate with the 95% interval of its test score. The grey line joins those that no other "
        "candidate beats in both score and cost; dashed lines are the reference predictors.",
        views,
        order=1,
    )


def _tradeoff_view(
    result: TaskResult,
    look: Mapping[str, Style],
    known: list[tuple[CandidateResult, float]],
    title: str,
    text: Callable[[float], str],
) -> Figure:
    metric = result.task.metric
    standing = {row.name: row for row in result.leaderboard}
    traces: list[Figure] = []
    front = _front([(value, standing[c.name].score) for c, value in known], metric.higher_is_better)
    if len(front) > 1:
        xs, ys = zip(*front, strict=True)
        line = {"color": "#c9ced4", "width": 2, "shape": "hv"}
        traces.append({"x": xs, "y": ys, "mode": "lines", "line": line, "hoverinfo": "skip"})
    costs = [value for _, value in known]
    turn = min(costs) ** 0.3 * max(costs) ** 0.7  # names of points right of it are put on their left
    for c, value in known:
        row, style = standing[c.name], look[c.name]
        traces.append(
            {
                "x": [value],
                "y": [row.score],
                "mode": "markers+text",
                "text": [f"\u2002{c.name}\u2002"],
                "textposition": "middle left" if value > turn else "middle right",
                "textfont": {"color": INK, "size": 12},
                "marker": {
                    "color": style.colour,
                    "symbol": style.marker,
                    "size": 12,
                    "line": {"color": "#fff", "width": 1},
                },
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [row.high - row.score if math.isfinite(row.high) else 0.0],
                    "arrayminus": [row.score - row.low if math.isfinite(row.low) else 0.0],
                    "color": style.colour,
                    "thickness": 1.5,
                    "width": 5,
                },
                "hovertemplate": f"<b>{c.name}</b><br>{metric.name} {format_score(metric, row.score)}"
                f"<br>{text(value)}<extra></extra>",
                "meta": c.name,
            }
        )
    shapes, notes = _reference_lines(result)
    x = axis(title, log=True, **log_ticks([value for _, value in known], text, 2 if text is size else 10))
    bounds = _score_range(result)
    y = axis(metric_label(metric))
    if bounds:
        y["range"] = bounds
    return figure(traces, x, y, height=440, shapes=shapes, annotations=notes)


def _front(points: list[tuple[float, float]], higher: bool) -> list[tuple[float, float]]:
    best, front = -math.inf, []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1] if higher else p[1])):
        value = score if higher else -score
        if value > best:
            best = value
            front.append((cost, score))
    return front


def _score_range(result: TaskResult) -> list[float] | None:
    """Return the range of the candidates' intervals and the best reference; references far behind are not shown."""
    rows = [row for row in result.leaderboard if row.kind == "candidate"]
    references = [row for row in result.leaderboard if row.kind == "reference"]
    if not rows:
        return None
    values = [v for row in rows for v in (row.score, row.low, row.high) if math.isfinite(v)]
    values += [row.score for row in references[:1]]
    low, high = min(values), max(values)
    edge = 0.12 * (high - low) or 0.05 * (abs(high) or 1.0)
    return [low - edge, high + edge]


def _reference_lines(result: TaskResult) -> tuple[list[Figure], list[Figure]]:
    shapes, notes = [], []
    bounds = _score_range(result)
    shown: list[float] = []
    for row in result.leaderboard:
        if row.kind != "reference" or (bounds and not bounds[0] <= row.score <= bounds[1]):
            continue
        span = (bounds[1] - bounds[0]) if bounds else 1.0
        line = {"color": "#8a939c", "width": 1.2, "dash": "dash"}
        ends = {"x0": 0, "x1": 1, "y0": row.score, "y1": row.score}
        shapes.append({"type": "line", "xref": "paper", **ends, "line": line, "layer": "below"})
        if all(abs(row.score - other) > 0.05 * span for other in shown):
            font = {"size": 11, "color": MUTED}
            place = {"xref": "paper", "x": 1, "xanchor": "right", "y": row.score, "yanchor": "bottom"}
            notes.append({**place, "text": row.name, "showarrow": False, "font": font})
            shown.append(row.score)
    return shapes, notes
