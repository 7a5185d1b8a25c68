"""Figures and lists as people read them; shared by the verdict, the terminal and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .results import MetricFacts


def join(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def amount(value: float | None, digits: int = 3) -> str:
    """A figure with so many significant digits, never in exponent form between 1e-4 and 1e7."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 7 or size < -4:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - size)
    return f"{value:,.{places}f}"


def format_score(metric: MetricFacts, value: float) -> str:
    """A score: three places for what ends at 1 or 100 (accuracies), four significant digits otherwise."""
    if not math.isfinite(value):
        return "–"
    if metric.best in (1.0, 100.0) and abs(value) <= abs(metric.best):
        return f"{value:.3f}".replace("-0.000", "0.000")
    return amount(value, 4)


def score_with_unit(metric: MetricFacts, value: float) -> str:
    return f"{format_score(metric, value)} {metric.unit}".rstrip()


def rate(value: float | None) -> str:
    """Thousands and millions shortened: ``12.3k``, ``4.56M``."""
    return scaled(value, 1000.0, ("", "k", "M", "G", "T"))


def count(value: int | None) -> str:
    return rate(float(value)) if value is not None else "–"


def size(value: float | None) -> str:
    """Bytes, in powers of 1024."""
    return scaled(value, 1024.0, (" B", " KiB", " MiB", " GiB", " TiB"))


def scaled(value: float | None, base: float, units: Sequence[str]) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    place = 0
    while abs(value) >= base * 0.9995 and place < len(units) - 1:
        value /= base
        place += 1
    return f"{amount(value) if place else format(value, '.3g')}{units[place]}"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(round(seconds)), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
