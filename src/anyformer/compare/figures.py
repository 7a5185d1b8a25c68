"""The report's plots, as plain plotly dictionaries.

Every function returns None when there is nothing to show, so that the report never holds an empty plot. A figure
may come in several *views* (another x axis, say); the page switches between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .results import CandidateResult, MetricFacts, Point, SeedRun, TaskResult
from .words import amount, format_score, size, tick

# Okabe and Ito's colours, told apart with every common colour blindness; their yellow is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot")
INK, MUTED, GRID = "#1b1f24", "#5c6670", "#e8ebee"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

Figure = dict[str, Any]


@dataclass(frozen=True)
class Style:
    """How one candidate looks in every plot."""

    name: str
    colour: str
    marker: str
    dash: str

    @property
    def band(self) -> str:
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.14)"


@dataclass(frozen=True)
class View:
    """One way to draw a plot, with the word on its button."""

    label: str
    figure: Figure


@dataclass(frozen=True)
class Plot:
    """A captioned plot; the reader picks one of its views."""

    id: str
    title: str
    caption: str
    views: list[View] = field(default_factory=list)


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Colour, marker and dash by place in the list, so that a candidate looks the same everywhere."""
    return {
        name: Style(
            name,
            COLOURS[i % len(COLOURS)],
            MARKERS[i % len(MARKERS)],
            DASHES[(i // len(COLOURS)) % len(DASHES)],
        )
        for i, name in enumerate(names)
    }


def finished(result: TaskResult) -> list[CandidateResult]:
    """The candidates that have scores."""
    return [c for c in result.candidates if c.status == "ok" and c.runs]


def metric_label(metric: MetricFacts) -> str:
    """The title of an axis that shows the metric."""
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.name}{unit}, {direction}"


def _axis(title: str, *, log: bool = False, **options: Any) -> Figure:
    axis = {
        "title": {"text": title, "font": {"size": 12.5, "color": MUTED}, "standoff": 10},
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": "#b9c0c7",
        "ticks": "outside",
        "tickcolor": "#b9c0c7",
        "ticklen": 4,
        "tickfont": {"size": 11.5, "color": MUTED},
        "automargin": True,
        **options,
    }
    if log:
        axis["type"] = "log"
    return axis


def _figure(traces: list[Figure], x: Figure, y: Figure, *, height: int = 400, **layout: Any) -> Figure:
    return {
        "data": traces,
        "layout": {
            "xaxis": x,
            "yaxis": y,
            "height": height,
            "margin": {"l": 64, "r": 24, "t": 16, "b": 56},
            "font": {"family": FONT, "size": 12.5, "color": INK},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#c5ccd3", "font": {"color": INK}},
            **layout,
        },
    }


FINE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
LADDERS = {
    10: ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), FINE),
    2: ((1.0,),),
}


def _log_ticks(values: Sequence[float], text: Callable[[float], str], base: int = 10) -> Figure:
    """Ticks for a logarithmic axis that cover ``values`` without crowding; powers of two for ``base`` 2."""
    low, high = min(values), max(values)
    edge = 0.08 * max(0.3, math.log10(high / low))
    start, end = math.log10(low) - edge, math.log10(high) + edge
    shown: list[float] = []
    for marks in _mark_sets(start, end, base):
        inside = [m for m in marks if start <= math.log10(m) <= end]
        if len(inside) > 6 and len(shown) > 1:
            break
        shown = inside
    return {"tickvals": shown, "ticktext": [tick(text(m)) for m in shown], "range": [start, end]}


def _mark_sets(start: float, end: float, base: int) -> list[list[float]]:
    """Sets of round numbers between two powers of ten, from sparse to dense."""
    first, last = (math.floor(start), math.ceil(end)) if base == 10 else (0, 60)
    powers = [float(base) ** e for e in range(first, last + 1)]
    sparse = [powers[::every] for every in (6, 5, 4, 3, 2)]
    return sparse + [[p * m for p in powers for m in ladder] for ladder in LADDERS[base]]


def _length_ticks(lengths: Sequence[int]) -> Figure:
    shown = sorted(set(lengths))
    while len(shown) > 8:
        shown = shown[::2]
    low, high = math.log10(min(lengths)), math.log10(max(lengths))
    edge = max(0.06 * (high - low), 0.04)
    return {
        "tickvals": shown,
        "ticktext": [f"{n:,}" for n in shown],
        "range": [low - edge, high + edge],
    }


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
    for c, value in known:
        row, style = standing[c.name], look[c.name]
        traces.append(
            {
                "x": [value],
                "y": [row.score],
                "mode": "markers+text",
                "text": [c.name],
                "textposition": "top center",
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
                    "array": [row.high - row.score],
                    "arrayminus": [row.score - row.low],
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
    x = _axis(title, log=True, **_log_ticks([value for _, value in known], text, 2 if text is size else 10))
    bounds = _score_range(result)
    y = _axis(metric_label(metric))
    if bounds:
        y["range"] = bounds
    return _figure(traces, x, y, height=440, shapes=shapes, annotations=notes)


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
    values = [v for row in rows for v in (row.score, row.low, row.high)]
    metric = result.task.metric
    best = metric.best
    if best is not None:  # intervals may run past what is possible
        values = [min(v, best) if metric.higher_is_better else max(v, best) for v in values]
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
                figure = _figure(traces, _axis(x_title, rangemode="tozero"), _axis(y_title))
                views.append(View(f"{y_label} by {x_label}", figure))
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
    lines = [t for r in result.references if r.by_length for t in [_reference_trace(r.name, r.by_length)]]
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
    x = _axis("sequence length (tokens)", log=True, **_length_ticks(sorted(lengths)))
    figure = _figure(lines + traces, x, _axis(metric_label(metric)), shapes=[shape], annotations=[note])
    figure["layout"]["margin"]["t"] = 28
    caption = "The same models on longer sequences than they were trained on. Bars span the lowest and highest seed."
    return Plot("beyond", "Beyond the trained length", caption, [View("", figure)])


def _by_length(runs: Sequence[SeedRun]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for run in runs:
        for length, score in run.by_length.items():
            if math.isfinite(score):
                found.setdefault(length, []).append(score)
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
            figure = _growth_figure(series, look, label, text)
            plots.append(Plot(f"growth-{id}", title, "", [View("", figure)]))
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
    x = _axis("sequence length (tokens)", log=True, **_length_ticks(lengths))
    y = _axis(label, log=True, **_log_ticks(values, text, base))
    figure = _figure(traces, x, y, height=320)
    figure["layout"]["margin"] = {"l": 58, "r": 12, "t": 8, "b": 48}
    return figure
