"""Rules that tell the time axis from other columns of dates."""

from __future__ import annotations

import re

from anyformer.dates.forms import part_of
from anyformer.dates.reading import Dates
from anyformer.dates.serials import SERIALS

LIKELY = re.compile(
    r"date|time|stamp|datum|fecha|epoch|(^|[^a-z])(ds|dt|ts|day|month|week|quarter|year|when|period|jour|mois|tag|monat|jahr)"
    r"([^a-z]|$)",
    re.IGNORECASE,
)
UNLIKELY = re.compile(
    r"updat|modif|creat|expir|valid|due|insert|load|birth|born|lifetime|runtime|until", re.IGNORECASE
)
NEVER = re.compile(
    r"birth|born|version|(^|[^a-z])(dob|ip|id|sku|release|rev|ver|zip|phone|tel)([^a-z]|$)", re.IGNORECASE
)


def is_axis(dates: Dates) -> bool:
    """True if dates that the user did not name are the time axis."""
    order, name = dates.order, dates.name
    if (
        order.distinct < 3
        or order.usual > 0.5
        or any(NEVER.search(column) for column in dates.reading.columns)
    ):
        return False
    steady, regular = order.steady >= 0.5 and order.dense >= 0.5, order.dense >= 0.5
    rising = order.rising >= 0.9
    likely = bool(LIKELY.search(name))
    style = dates.reading.styles[0]
    if len(dates.reading.columns) > 1:
        return rising or regular
    if style == "%Y":
        named = part_of(name) == "%Y"
        moving = order.moving >= 0.5 and rising
        return (
            (moving or (regular and order.repeated <= 0.05))
            if named
            else steady and order.moving > 0.99 and likely
        )
    if style == "excel":
        calendar = order.step is not None and bool(order.step.months or order.step.working_day)
        return rising and (likely or (calendar and steady))
    if style in SERIALS:
        return (likely and rising) or (
            steady and order.step is not None and order.step.microseconds != int(SERIALS[style])
        )
    if dates.weak:
        return _is_weak_axis(dates, likely)
    return rising or regular or (likely and order.repeated <= 0.05)


def _is_weak_axis(dates: Dates, likely: bool) -> bool:
    """True if values that may be other things than dates are the time axis."""
    order, style = dates.order, dates.reading.styles[0]
    years = dates.clock.dropna().dt.year
    steady = order.steady >= 0.5 and order.dense >= 0.5
    if years.min() < 1600 or years.max() > 2200:
        return False
    if re.fullmatch(r"%.?[bB]\W*%y|%y\W*%.?[bB]", style):  # or a day and a month without a year, as in Jan-20
        shuffled = likely and order.rising < 0.7 and order.dense > 0.99
        months = 12 if style.startswith("%y") else 13  # days of one month would be years apart
        return order.step is not None and 0 < order.step.months < months and (steady or shuffled)
    # as in 1.2.10, a version, or 101, 102, ..., or 1.2345
    loose = "%-" in style or style in ("%y%m%d", "%G%V", "%d%m%Y", "%m%d%Y", "%m.%Y", "%Y.%m", "%Y.%q")
    return (steady and (likely or not loose)) or (likely and (order.rising >= 0.9 or order.dense >= 0.5))


def rank(dates: Dates) -> float:
    """Return a score: the higher, the likelier the dates are the time axis."""
    name = dates.name
    return (
        dates.order.score + 0.5 * bool(LIKELY.search(name)) - bool(UNLIKELY.search(name)) - dates.order.usual
    )
