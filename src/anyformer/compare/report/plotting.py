"""Colours, markers, axes and ticks of all plots of the report, as plain plotly dictionaries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyformer.compare.results.formats import tick

# Okabe and Ito's colours, told apart with every common colour blindness; their yellow is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot")
INK, MUTED, GRID = "#1b1f24", "#5c6670", "#e8ebee"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

Figure = dict[str, Any]


@dataclass(frozen=True)
class Style:
    """Style of one candidate in every plot."""

    name: str
    colour: str
    marker: str
    dash: str

    @property
    def band(self) -> str:
        """Colour of a band around its line."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.14)"


@dataclass(frozen=True)
class View:
    """One view of a plot, with the label of its button."""

    label: str
    figure: Figure


@dataclass(frozen=True)
class Plot:
    """A plot with a caption and one or more views, of which the reader chooses one.

    Attributes:
        title: heading above it.
        caption: text above it.
        views: its views.
        small: True if it belongs to the grid "Growth with length".
        order: position on the page, from top to bottom; the library's plots have 1, 2 and 3.
        id: id of the figure, filled in by its registry.
    """

    title: str
    caption: str
    views: list[View] = field(default_factory=list)
    small: bool = False
    order: float = 10.0
    id: str = ""


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Return colour, marker and dash of each candidate, by its index, so that it looks the same in every plot."""
    return {
        name: Style(
            name,
            COLOURS[i % len(COLOURS)],
            MARKERS[i % len(MARKERS)],
            DASHES[(i // len(COLOURS)) % len(DASHES)],
        )
        for i, name in enumerate(names)
    }


def axis(title: str, *, log: bool = False, **options: Any) -> Figure:
    """Return an axis with a title; ``options`` are plotly's."""
    found = {
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
        found["type"] = "log"
    return found


def figure(traces: list[Figure], x: Figure, y: Figure, *, height: int = 400, **layout: Any) -> Figure:
    """Return a figure of traces on a pair of axes, in the style of the report."""
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


def log_ticks(values: Sequence[float], text: Callable[[float], str], base: int = 10) -> Figure:
    """Return at most about six ticks for a logarithmic axis over ``values``; powers of two for ``base`` 2."""
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
    """Return sets of round numbers between two powers of ten, from sparse to dense."""
    first, last = (math.floor(start), math.ceil(end)) if base == 10 else (0, 60)
    powers = [float(base) ** e for e in range(first, last + 1)]
    sparse = [powers[::every] for every in (6, 5, 4, 3, 2)]
    return sparse + [[p * m for p in powers for m in ladder] for ladder in LADDERS[base]]


def length_ticks(lengths: Sequence[int]) -> Figure:
    """Return ticks at the measured lengths, at most eight."""
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
