"""The HTML report: one self-contained page with verdict, leaderboard, plots and common settings.

The page contains plotly.js, and forbids every network request by its content security policy.
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from anyformer.compare.report.beside import beside_columns, beside_rows, beside_title
from anyformer.compare.report.figures import draw_figures
from anyformer.compare.report.plotting import MUTED, Plot, Style, styles
from anyformer.compare.results import CandidateResult, Results, Standing, TaskResult
from anyformer.compare.results import formats as words
from anyformer.files import write_atomically

STATUS_WORDS = {
    "failed": "failed",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "bad_spec": "bad specification",
    "left_out": "left out",
}


def write_report(results: Results, path: Path) -> None:
    """Write the page to a file, in one step."""
    write_atomically(path, render(results))


def render(results: Results) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(duration=words.duration, count=words.count, size=words.size, rate=words.rate)
    environment.filters.update(amount=words.amount, tick=words.tick)
    template = environment.from_string(_resource("page.html.j2"))
    sections = [_section(result, results) for result in results.tasks]
    return template.render(
        results=results,
        sections=sections,
        plotly=_plotly(),
        figures=_script_json({plot["key"]: plot["views"] for s in sections for plot in s["plots"]}),
        title=" · ".join(section["task"].name for section in sections),
    )


def _resource(name: str) -> str:
    return files("anyformer.compare.report").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly() -> str:
    text = files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")


def _script_json(value: Any) -> str:
    """Encode as JSON that is safe inside a script element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")


def _section(result: TaskResult, results: Results) -> dict[str, Any]:
    look = styles([c.name for c in result.candidates])
    name = result.task.name
    plots = draw_figures(result, look)
    candidates = {c.name: c for c in result.candidates}
    return {
        "anchor": f"task-{name}",
        "task": result.task,
        "settings": result.settings,
        "verdict": result.verdict,
        "how_to_go_on": results.how_to_go_on(result),
        "rows": _rows(result, look),
        "columns": _columns(result),
        "beside_title": beside_title(result),
        "beside_columns": beside_columns(result),
        "beside": beside_rows(result),
        "metric": result.task.metric,
        "metric_title": words.metric_title(result.task.metric),
        "direction": result.task.metric.direction,
        "legend": [(c.name, swatch(look[c.name], 13)) for c in result.candidates if c.status == "ok"],
        "wide": [_plot_entry(plot, name) for plot in plots if not plot.small],
        "small": [_plot_entry(plot, name) for plot in plots if plot.small],
        "plots": [_plot_entry(plot, name) for plot in plots],
        "rate_lies": RATE_LIES,
        "failed": [(c, STATUS_WORDS[c.status]) for c in result.candidates if c.status != "ok"],
        "lost": [r for r in result.references if r.test is None],
        "searched": [(c, _trials(c)) for c in result.candidates if c.search],
        "equal": _equal(result, results),
        "facts": [(key.replace("_", " "), _fact(value)) for key, value in result.task.facts.items()],
        "saved": candidates.get(result.saved or ""),
        "saved_path": result.saved_path,
        "use": words.how_to_use(result, str(Path(results.folder) / (result.saved_path or "")), "NEW"),
        "saved_note": result.saved_note,
        "confidence": words.confidence(result.confidence),
        "diagnostics": [*(one.told for one in result.diagnostics), *result.undiagnosed],
        "refit": result.refit,
    }


def _plot_entry(plot: Plot, task: str) -> dict[str, Any]:
    return {**asdict(plot), "key": f"{task}-{plot.id}"}


def swatch(style: Style, side: int) -> str:
    """Return a candidate's marker, as in the plots, as an inline SVG of ``side`` pixels."""
    shapes = {
        "circle": '<circle cx="8" cy="8" r="6"/>',
        "square": '<rect x="2.5" y="2.5" width="11" height="11"/>',
        "diamond": '<path d="M8 1 15 8 8 15 1 8Z"/>',
        "triangle-up": '<path d="M8 2 14.5 13.5H1.5Z"/>',
        "triangle-down": '<path d="M8 14 14.5 2.5H1.5Z"/>',
        "x": '<path d="M4 1.5 8 5.5 12 1.5 14.5 4 10.5 8 14.5 12 12 14.5 8 10.5 4 14.5 1.5 12 5.5 8 1.5 4Z"/>',
        "star": '<path d="M8 .8 10.2 5.6 15.4 6.2 11.5 9.8 12.6 15 8 12.3 3.4 15 4.5 9.8.6 6.2 5.8 5.6Z"/>',
    }
    return (
        f'<svg class="swatch" viewBox="0 0 16 16" width="{side}" height="{side}" fill="{style.colour}" '
        f'aria-hidden="true">{shapes[style.marker]}</svg>'
    )


def _columns(result: TaskResult) -> dict[str, bool]:
    """Return True for each cost column of the leaderboard that is not empty."""
    costs = [c.costs for c in result.candidates if c.status == "ok"]
    return {
        "rate": any(c.train_tokens_per_second for c in costs),
        "latency": any(c.token_latency_ms for c in costs),
        "memory": any(c.peak_memory_bytes for c in costs),
        "state": any(c.state_bytes for c in costs),
        "flops": any(c.flops_per_token for c in costs),
    }


def _rows(result: TaskResult, look: dict[str, Style]) -> list[dict[str, Any]]:
    metric = result.task.metric
    candidates = {c.name: c for c in result.candidates}
    references = {r.name: r for r in result.references}
    scale = _scale(result.leaderboard)
    rows = []
    for row in result.leaderboard:
        candidate = candidates.get(row.name) if row.kind == "candidate" else None
        style = look[row.name] if candidate else None
        score, low, high = words.format_scores(metric, [row.score, row.low, row.high])
        rows.append(
            {
                "row": row,
                "candidate": candidate,
                "fitted": candidate or references[row.name],
                "description": "" if candidate else references[row.name].description,
                "predict_ms": None if candidate else references[row.name].predict_ms,
                "ending": words.ending_of(candidate, result.settings.steps) if candidate else "",
                "swatch": swatch(style, 14) if style else "",
                "score": score,
                "interval": f"{low} to {high}",
                "bar": _bar(row, scale, style),
                "state": _state_at(candidate, result.task.train_length) if candidate else None,
                "winner": row.name == result.verdict.winner and row.kind == "candidate",
            }
        )
    return rows


def _state_at(candidate: CandidateResult, length: int) -> int | None:
    sizes = candidate.costs.state_bytes
    return sizes.get(length) or (sizes[max(sizes)] if sizes else None)


def _scale(board: list[Standing]) -> tuple[float, float]:
    """Return the range of the candidates' and the best reference's intervals; other references may lie outside."""
    shown = [row for row in board if row.kind == "candidate"]
    shown += [row for row in board if row.kind == "reference"][:1]
    values = [v for row in shown for v in (row.low, row.score, row.high) if math.isfinite(v)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bar(row: Standing, scale: tuple[float, float], style: Style | None) -> str:
    """Draw score and interval as a dot on a line, on the scale of all rows; a score outside it is an arrow."""
    width, pad = 130.0, 6.0

    def at(value: float) -> float:
        return pad + (width - 2 * pad) * min(1.0, max(0.0, (value - scale[0]) / (scale[1] - scale[0])))

    colour = style.colour if style else MUTED
    label = html.escape(f"{row.name}: {row.score:.4g}, from {row.low:.4g} to {row.high:.4g}")
    dot = f'<circle cx="{at(row.score):.1f}" cy="9" r="4" fill="{colour}"/>'
    stroke = f'fill="#fff" stroke="{colour}" stroke-width="1.6"'
    if row.score < scale[0]:
        dot = f'<path d="M9 5 3 9 9 13" {stroke}/>'
    elif row.score > scale[1]:
        dot = f'<path d="M{width - 9} 5 {width - 3} 9 {width - 9} 13" {stroke}/>'
    elif style is None:
        dot = f'<circle cx="{at(row.score):.1f}" cy="9" r="3.4" {stroke}/>'
    return (
        f'<svg class="bar" viewBox="0 0 {width:.0f} 18" width="{width:.0f}" height="18" role="img" '
        f'aria-label="{label}"><title>{label}</title>'
        f'<line x1="{pad}" x2="{width - pad}" y1="9" y2="9" stroke="#e3e7ea" stroke-width="1"/>'
        f'<line x1="{at(row.low):.1f}" x2="{at(row.high):.1f}" y1="9" y2="9" stroke="{colour}" '
        f'stroke-width="3" stroke-linecap="round" opacity=".55"/>{dot}</svg>'
    )


def _held(result: TaskResult) -> str:
    """Return the measure of size that is equal, in words."""
    settings = result.settings
    held = "parameters, within 2%" if settings.hold == "parameters" else "FLOPs for one token, within 2%"
    if settings.target_parameters and settings.hold == "parameters":
        held += f" of {words.count(settings.target_parameters - settings.tables)}"
    if settings.tables:
        held += (
            f", besides {words.count(settings.tables)} in tables of the data's values, which all have alike"
        )
    wanted = settings.target_parameters or math.inf
    more = [c for c in result.candidates if c.parameters and c.parameters > 1.1 * wanted]
    if more and settings.hold == "parameters":
        listed = words.join([f"{c.name} ({words.count(c.parameters or 0)} in all)" for c in more])
        held += f"; hashed tables, of which a token reads a few rows, are not counted: {listed}"
    return held


def _equal(result: TaskResult, results: Results) -> list[tuple[str, str]]:
    """Return the settings that all candidates shared, as pairs of a heading and a text."""
    settings, machine = result.settings, results.machine
    held = _held(result)
    tokens = settings.batch_size * (result.task.source_length + result.task.train_length)
    steps = words.steps_trained(result.candidates, settings.steps)
    timed = ", of each candidate as many as it takes in the same time" if " to " in steps else ""
    rates = words.join([_rate(value) for value in settings.learning_rates])
    if settings.ladder:
        rates += f"; the ladder goes from {_rate(settings.ladder[0])} to {_rate(settings.ladder[-1])}"
    seeds = ", ".join(str(seed) for seed in settings.seeds)
    rows = [
        ("Size", f"{held}; the width of each candidate is solved for it"),
        (
            "Training",
            f"{steps} steps of {settings.batch_size} sequences ({words.count(tokens)} tokens){timed}; batches come in "
            "the same order for every candidate; where earlier weights on the curve are better on the validation "
            "split, these are scored and saved"
            + (
                "; a candidate too far behind to catch up at its curve's pace is stopped, and the others get its time"
                if settings.equal == "budget"
                else ""
            ),
        ),
        ("Learning rate", f"{settings.search} All began with {rates}.".strip()),
        ("Optimiser", settings.schedule),
        ("Seeds", f"{len(settings.seeds)} ({seeds}), shared by all candidates"),
        ("Choices", "made on the validation split; the test split is read once, at the end"),
        (
            "Machine",
            f"{machine.processor or machine.system}, {machine.cores} cores, {machine.device}; training ran "
            f"{machine.workers} at a time with {machine.threads} thread{'s' if machine.threads != 1 else ''} each; "
            "costs were measured one candidate at a time, with the same number of threads",
        ),
    ]
    return [(name, text) for name, text in rows if text]


def _rate(value: float) -> str:
    return words.tick(words.amount(value))


RATE_LIES = {
    None: "–",
    "inside": "inside: the rates on both sides are worse",
    "lowest": "at the lower end of the ladder: a lower rate might be better",
    "edge": "at the edge of what there was time to try: a rate beyond might be better",
    "highest": "at the upper end of the ladder: a higher rate might be better",
}


def _trials(candidate: CandidateResult) -> list[dict[str, Any]]:
    """Return the search of a candidate, one row for each length of its runs and each seed, rates ascending."""
    used = {run.seed: run.learning_rate for run in candidate.runs}
    rows = []
    for seed, steps in sorted({(-1 if r.seed is None else r.seed, r.steps) for r in candidate.search}):
        mine = None if seed < 0 else seed
        runs = [r for r in candidate.search if r.steps == steps and r.seed == mine]
        rate = candidate.learning_rate if mine is None else used.get(mine)
        cells = [
            {
                "text": f"{_rate(r.learning_rate)} → {'failed' if r.loss is None else words.amount(r.loss)}",
                "used": r.learning_rate == rate,
            }
            for r in sorted(runs, key=lambda r: r.learning_rate)
        ]
        of = "" if mine is None else f", seed {mine}"
        rows.append({"title": f"{steps} steps{of}", "cells": cells})
    return rows


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_fact(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return words.amount(value, 4)
    return str(value)
