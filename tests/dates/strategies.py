"""Hypothesis strategies for what users' files hold, with the values that it was made from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

_DAYS = [
    f"{{{a}}}{s}{{{b}}}{s}{{{y}}}" for a, b in ("dm", "md", "en", "ne") for s in "./-" for y in ("Y", "y")
]
_DAYS += ["{Y}-{m}-{d}", "{y}-{m}-{d}", "{Y}/{m}/{d}", "{Y}.{m}.{d}", "{Y}{m}{d}", "{d}{b}{Y}", "{d}-{b}-{y}"]
_DAYS += ["{d}-{b}-{Y}", "{Y}-{j}"]
_DAYS += [
    "{e} {B} {Y}",
    "{B} {e}, {Y}",
    "{b} {d}, {Y}",
    "{d}. {B} {Y}",
    "{a}, {d} {b} {Y}",
    "{d} {m} {Y}",
    "{e} {L} {Y}",
]
_WORDED = [
    "{d} {B} {Y}",
    "{e}. {B} {Y}",
    "{B} {e}, {Y}",
    "{d}-{B}-{Y}",
    "{e} de {B} de {Y}",
    "{A}, {d}.{m}.{Y}",
]
_WORDED += [
    "{A} {e} {B} {Y}",
    "{A}, {e}. {B} {Y}",
    "{o} {B} {Y}",
    "{B} {o}, {Y}",
    "{f} {B} {Y}",
    "{A} {d}/{m}/{Y}",
]
_WORDED += ["{Y} {B} {d}", "{o} of {B} {Y}", "{A} {o} {B} {Y}"]
LANGUAGES = [
    line.split()
    for line in (
        "January February March April May June July August September October November December",
        "Jan. Feb. March April May June July Aug. Sept. Oct. Nov. Dec.",
        "Januar Februar M\u00e4rz April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb M\u00e4r Apr Mai Jun Jul Aug Sep Okt Nov Dez",
        "janvier f\u00e9vrier mars avril mai juin juillet ao\u00fbt septembre octobre novembre d\u00e9cembre",
        "janv. f\u00e9vr. mars avr. mai juin juil. ao\u00fbt sept. oct. nov. d\u00e9c.",
        "jan fev mar abr mai jun jul ago set out nov dez",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "ene. feb. mar. abr. may. jun. jul. ago. sept. oct. nov. dic.",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "januari februari maart april mei juni juli augustus september oktober november december",
    )
]
WEEKDAYS = [
    line.split()
    for line in (
        "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
        "Mo Di Mi Do Fr Sa So",
        "lun. mar. mer. jeu. ven. sam. dim.",
        "lunes martes mi\u00e9rcoles jueves viernes s\u00e1bado domingo",
        "segunda-feira ter\u00e7a-feira quarta-feira quinta-feira sexta-feira s\u00e1bado domingo",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    )
]
_MONTHS = [
    "{b}-{y}",
    "{b}-{Y}",
    "{L}-{y}",
    "{Y}-{m}",
    "{m}/{Y}",
    "{Y}/{m}",
    "{m}.{Y}",
    "{n}/{Y}",
    "{Y}{m}",
    "{Y}M{m}",
]
_MONTHS += ["{B} {Y}", "{b} {Y}", "{Y} {b}"]
_QUARTERS = ["{Y}Q{q}", "{Y}-Q{q}", "Q{q}-{Y}", "{Y}q{q}", "Q{q} {Y}", "{Y} Q{q}", "T{q} {Y}", "{q}T{Y}"]
_HALVES = ["{Y}H{s}", "H{s} {Y}", "{Y}-S{s}", "{s}H{y}", "{Y}-H{s}"]
_WEEKS = ["{G}-W{V}", "{G}W{V}", "{G}-W{V}-{u}", "{G}W{V}{u}"]
_CLOCKS = ["{H}:{M}", "{H}:{M}:{S}", "{k}:{M}", "{H}:{M}:{S}.{f}", "{I}:{M} {p}", "{I}:{M}:{S} {p}"]
_ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Sydney",
    "America/St_Johns",
    "Asia/Tokyo",
]
#: Steps, by pandas' names; the most of them that there are; and the styles that show all of such dates.
_RULES: dict[str, tuple[int, list[str]]] = {
    "D": (150, _DAYS),
    "B": (150, _DAYS),
    "W-MON": (150, _DAYS + _WEEKS),
    "W-SUN": (150, _DAYS),
    "MS": (150, _DAYS + _MONTHS),
    "ME": (150, _DAYS),
    "6MS": (70, _DAYS + _MONTHS + _HALVES),
    "QS": (90, _DAYS + _MONTHS + _QUARTERS),
    "QE": (90, _DAYS),
    "YS": (60, _DAYS + _MONTHS + _QUARTERS + ["{Y}"]),
    "h": (1000, []),
    "6h": (500, []),
    "15min": (1000, []),
    "7min": (500, []),
}


@st.composite
def regular_dates(draw: st.DrawFn) -> tuple[list[str], np.ndarray, str]:
    """Dates of a regular series, rising, as texts, one way for all; what they are; and how they were made.

    The dates are datetime64[us] as on the clock of the place.
    """
    rule = draw(st.sampled_from(sorted(_RULES)))
    most, styles = _RULES[rule]
    size = draw(st.integers(40, most))
    start = pd.Timestamp(
        f"{draw(st.integers(1950, 1965 if rule in ('YS', 'QS', 'QE', '6MS') else 2012))}-01-01"
    )
    days = draw(st.integers(0, 0 if rule == "6MS" else 364))
    start += pd.Timedelta(days=days, hours=0 if styles else draw(st.integers(0, 23)))
    timed = not styles or draw(st.integers(0, 4)) == 0
    zone = draw(st.sampled_from([None, *_ZONES])) if timed else None
    style = draw(st.sampled_from([one for one in _DAYS if "/" in one or "{m}" in one] if timed else styles))
    if timed:
        joint = draw(st.sampled_from(" T" if style == "{Y}-{m}-{d}" else " "))
        style += joint + draw(st.sampled_from(_CLOCKS if joint == " " else _CLOCKS[:2]))
    moments = pd.date_range(start, periods=size, freq=rule, tz=None if styles else "UTC")
    if zone and styles:
        moments = moments.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(size, bool))
    elif not styles:
        moments = moments.tz_convert(zone)
    mark = draw(st.sampled_from(["", ":", "Z"] if zone == "UTC" else ["", ":"]))
    clock = moments.tz_localize(None).to_numpy().astype("datetime64[us]")
    written = [
        _written(moment.to_pydatetime(), style, zone and moment.strftime("%z"), mark) for moment in moments
    ]
    return (
        written,
        clock,
        f"{size} x {rule} from {start} in {zone}, as {style!r} {mark}, such as {written[:2]}",
    )


@st.composite
def worded_dates(draw: st.DrawFn) -> tuple[list[str], np.ndarray, str]:
    """A year of days or more in which words are of one language, as texts; what they are; and how they were made."""
    style = draw(st.sampled_from(_WORDED))
    months = draw(st.sampled_from(LANGUAGES))
    days = draw(st.sampled_from(WEEKDAYS))
    write = draw(st.sampled_from([str, str.lower, str.upper, str.title]))
    size = draw(st.integers(370, 500))
    moments = pd.date_range(
        pd.Timestamp(2001, 1, 1) + pd.Timedelta(days=draw(st.integers(0, 9000))), periods=size
    )
    texts = [
        style.format(
            B=write(months[day.month - 1]), A=write(days[day.weekday()]), d=f"{day.day:02}", e=day.day, Y=day.year,
            m=f"{day.month:02}", o=_ordinal(day.day), f="1er" if day.day == 1 else day.day,
        )
        for day in moments
    ]  # fmt: skip
    return texts, moments.to_numpy().astype("datetime64[us]"), f"{style} from {moments[0]}, {texts[:2]}"


def _ordinal(day: int) -> str:
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


@st.composite
def date_columns(draw: st.DrawFn) -> tuple[list[str], np.ndarray, str]:
    """Dates of a regular series in any order of rows, as texts; what they are; and how they were made.

    They may come several times, as in a table of several series, and some texts may be empty; those dates are NaT.
    """
    written, clock, what = draw(regular_dates())
    rows = draw(_rows(len(written)))
    gone = draw(st.lists(st.integers(0, len(rows) - 1), max_size=3))
    texts, dates = [written[i] for i in rows], clock[rows]
    for place in gone:
        texts[place], dates[place] = "", np.datetime64("NaT")
    return texts, dates, what


@st.composite
def _rows(draw: st.DrawFn, size: int) -> list[int]:
    """Which step is in each row."""
    steps = list(range(size))
    order = draw(st.sampled_from(["rising", "rising", "falling", "shuffled"]))
    if order == "falling":
        steps.reverse()
    elif order == "shuffled":
        np.random.default_rng(draw(st.integers(0, 99))).shuffle(steps)
    copies = draw(st.sampled_from(["once", "once", "stacked", "beside"]))
    return {"once": steps, "stacked": steps * 2, "beside": [step for step in steps for _ in range(2)]}[copies]


def _written(date: datetime, style: str, offset: str | None, mark: str) -> str:
    fields: dict[str, Any] = {letter: date.strftime(f"%{letter}") for letter in "YymdbBaHIMSfpGVuj"}
    fields |= {
        "e": date.day,
        "n": date.month,
        "k": date.hour,
        "q": (date.month + 2) // 3,
        "s": (date.month + 5) // 6,
        "L": date.strftime("%b").upper(),
    }
    text = style.format(**fields)
    if offset is None:
        return text
    return text + ("Z" if mark == "Z" else f"{offset[:3]}:{offset[3:]}" if mark == ":" else offset)
