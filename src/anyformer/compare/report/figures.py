"""The report's plots, as plain plotly dictionaries.

Every function returns None when there is nothing to show, so that the report never holds an empty plot. A plot
may come in several *views* (another x axis, say); the page switches between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from anyformer.compare.report.plotting import (
    INK,
    MUTED,
    Figure,
    Plot,
    Style,
    View,
    axis,
    figure,
    length_ticks,
    log_ticks,
)
from anyformer.compare.results import CandidateResult, MetricFacts, Point, SeedRun, TaskResult
from anyformer.compare.results.formats import amount, format_score, metric_title, size


def finished(result: TaskResult) -> list[CandidateResult]:
    """The candidates that have scores."""
    return [c for c in result.candidates if c.status == "ok" and c.runs]


def metric_label(metric: MetricFacts) -> str:
    """The title of an axis that shows the metric."""
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    return f"{metric_title(metric)}, {direction}"


# Quality against cost -------------------------------------------------------------------------------------------

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


def tradeoff(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Score against what it costs, one view for each kind of cost."""
    views = []
    for label, title, cost, text in COSTS:
        points = [(c, cost(c)) for c in finished(result)]
        known = [(c, float(value)) for c, value in points if value]
        if known:
            views.append(View(label, _tradeoff_view(result, look, known, title, text)))
    if not views:
        return None
    return Plot(
        "tradeoff",
        "What you pay for what you get",
        "Each point is a candidate with the 95% interval of its test score. The grey line joins those that no other "
        "candidate beats in both score and cost; dashed lines are the reference predictors.",
        views,
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
    turn = min(costs) ** 0.3 * max(costs) ** 0.7  # right of it, names stand on the left of their points
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
    """The candidates with their intervals and the best reference; references far behind stay out of sight."""
    rows = [row for row in result.leaderboard if row.kind == "candidate"]
    benches = [row for row in result.leaderboard if row.kind == "reference"]
    if not rows:
        return None
    values = [v for row in rows for v in (row.score, row.low, row.high) if math.isfinite(v)]
    values += [row.score for row in benches[:1]]
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


# Learning curves ------------------------------------------------------------------------------------------------


def curves(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Validation score and training loss against time and tokens; the band spans the seeds."""
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
        "curves",
        "Learning curves",
        "The line is the mean over seeds, the band spans the lowest and the highest seed.",
        views,
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


# Beyond the trained length --------------------------------------------------------------------------------------


def beyond(result: TaskResult, look: Mapping[str, Style]) -> Plot | None:
    """Score at the trained length and at lengths never trained on."""
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
    return Plot("beyond", "Beyond the trained length", caption, [View("", drawn)])


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


# Growth with length ---------------------------------------------------------------------------------------------


def growth(result: TaskResult, look: Mapping[str, Style]) -> list[Plot]:
    """Small log-log plots: what grows with the length, and how fast."""
    kinds: list[
        tuple[str, str, str, Callable[[CandidateResult], Mapping[int, float]], Callable[[float], str]]
    ] = [
        ("prefill", "Reading a prompt", "time (ms)", lambda c: c.costs.prefill_ms, amount),
        ("memory", "Memory to train on it", "peak memory", lambda c: c.costs.memory_bytes, size),
        ("state", "State kept while streaming", "state of one sequence", lambda c: c.costs.state_bytes, size),
    ]
    plots = []
    for id, title, label, read, text in kinds:
        series = {c.name: {n: v for n, v in read(c).items() if v > 0} for c in finished(result)}
        series = {name: points for name, points in series.items() if len(points) > 1}
        if series:
            drawn = _growth_figure(series, look, label, text)
            plots.append(Plot(f"growth-{id}", title, "", [View("", drawn)]))
    return plots


def _growth_figure(
    series: Mapping[str, Mapping[int, float]],
    look: Mapping[str, Style],
    label: str,
    text: Callable[[float], str],
) -> Figure:
    traces = []
    for place, (name, points) in enumerate(series.items()):
        xs, style = sorted(points), look[name]
        # States are often equal; earlier lines are drawn wider, so that they show as an edge.
        under = min(len(series) - 1 - place, 4) if label.startswith("state") else 0
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
