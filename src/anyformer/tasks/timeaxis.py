"""Which columns of a table say when its rows were: the axis that series are laid out on.

The axis holds full dates that mostly rise in the order of the rows, within each group, or fill a regular grid, or are
different for each row. Numbers and two-digit years, which may be something else, must do more; times of day and dates
of birth are never the axis, and what hardly changes is none. Where a date repeats and further columns (a time, an
hour, a month beside a year) tell the rows apart, the columns are read together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.spelling import option
from anyformer.tasks.base import DataError
from anyformer.tasks.datefitting import MOST_MISFITS, PLAUSIBLE, nearly_dates, ways_of
from anyformer.tasks.dateforms import TIMES_OF_DAY, day_first, part_of
from anyformer.tasks.datenames import AMBIGUOUS, LANGUAGES, unread_words
from anyformer.tasks.dates import Dates, read_dates
from anyformer.tasks.datestyle import Style
from anyformer.tasks.encoding import Layout
from anyformer.tasks.reading import Table
from anyformer.tasks.serials import SERIALS
from anyformer.tasks.tables import check_column
from anyformer.tasks.zones import check_zone

_LIKELY = re.compile(
    r"date|time|stamp|datum|fecha|epoch|(^|[^a-z])(ds|dt|ts|day|month|week|quarter|year|when|period|jour|mois|tag|monat|jahr)"
    r"([^a-z]|$)",
    re.IGNORECASE,
)
_UNLIKELY = re.compile(
    r"updat|modif|creat|expir|valid|due|insert|load|birth|born|lifetime|runtime|until", re.IGNORECASE
)
_NEVER = re.compile(
    r"birth|born|version|(^|[^a-z])(dob|ip|id|sku|release|rev|ver|zip|phone|tel)([^a-z]|$)", re.IGNORECASE
)
NONE = "none"


def find_axis(
    path: Path,
    frame: pd.DataFrame,
    date: str | Sequence[str] | bool | None,
    *,
    groups: pd.Series | None = None,
    date_format: str | None = None,
    dayfirst: bool | None = None,
    tz: str | None = None,
    remarks: list[str],
) -> Dates | None:
    """The dates of a table's rows; None where it has none, or ``date`` is ``"none"``.

    Args:
        path: of the file, for messages.
        date: the column, or the columns that make a date together; found where not given.
        groups: what tells each row's series apart.
        date_format, dayfirst, tz: see :func:`anyformer.tasks.dates.read_dates`.
        remarks: takes what was decided.

    Raises:
        DataError: a column that was named holds no dates, or not such dates.
    """
    options = {"date_format": date_format, "dayfirst": dayfirst, "tz": None if tz is None else check_zone(tz)}
    codes = None if groups is None else pd.factorize(groups)[0]
    if date is False or (date == NONE and NONE not in frame.columns):
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise ValueError(
                f"{option(given[0])} is for a column of dates, and {option('date', NONE)} says that there is none"
            )
        return None
    if date:
        return _named(path, frame, dated_columns(frame, date), codes, options, remarks)
    found = [dates for name in frame.columns for dates in _read(frame, str(name), codes, options)]
    if date_format is None:
        found = [_extended(frame, dates, codes, options) for dates in found]
    fitting = [dates for dates in found if _is_axis(dates)]
    if not fitting:
        if dayfirst is not None and date_format is None:
            other = find_axis(path, frame, None, groups=groups, remarks=[])
            if other is not None:
                raise DataError(
                    f"{option('dayfirst', dayfirst)}: {other.name!r} of {path} is written {other.reading.style}, which "
                    "that rules out"
                )
        if date_format is not None:
            raise DataError(
                f"{option('date_format', date_format)}: no column of {path} rises with dates written so; "
                f"{option('date', 'NAME')} names it where it does not"
            )
        remarks.extend(_why_none(path, frame, found))
        return None
    best = max(fitting, key=_rank)
    _check_clock(path, best)
    if date_format is None:
        _check_years(path, best)
    remarks.extend(best.remarks)
    others = [
        dates.name
        for dates in found
        if dates is not best and not set(dates.reading.columns) & set(best.reading.columns)
    ]
    remarks.append(
        f"{best.name!r} tells the time of the rows ({best.reading.style})"
        + (f", rather than {', '.join(map(repr, others))}" if others else "")
        + f"; {option('date', 'NAME')} takes another column, {option('date', NONE)} none"
    )
    _note_dayfirst(best, dayfirst, remarks)
    return best


def as_written(table: Table) -> pd.DataFrame:
    """A table's columns as the file has them, 01.10 being neither 1.1 nor 110; numbers with fractions stay as read."""
    columns = {}
    for name in table.frame.columns:
        column = table.frame[name]
        if pd.api.types.is_float_dtype(column) and column.notna().any():
            first = str(table.keys(name).dropna().iloc[0])
            if not re.fullmatch(r"\d{4}\.\d\d|\d\d?\.\d{4}|\d+\.0+", first):
                columns[name] = column
                continue
        small = (
            pd.api.types.is_integer_dtype(column) and part_of(str(name)) is None and not column.min() >= 1000
        )
        columns[name] = column if small else table.keys(name)
    return pd.DataFrame(columns, index=table.frame.index)


def _note_dayfirst(dates: Dates, dayfirst: bool | None, remarks: list[str]) -> None:
    style = dates.reading.style
    told = style not in SERIALS and not style.startswith("%Y") and day_first(Style(style)) is not None
    if dayfirst is not None and not told:
        remarks.append(
            f"{option('dayfirst', dayfirst)} says nothing about {dates.name!r}, which is written {dates.reading.style}"
        )


def _check_clock(path: Path, dates: Dates) -> None:
    """``DataError`` where a date is at an hour that clocks of its zone skip."""
    if dates.skipped:
        raise DataError(
            f"{path}: {dates.skipped} in {dates.name!r}, as those of {dates.reading.zone} skip it in spring: the times "
            f"are those of another zone, which {option('tz')} names"
        )


def _odd_years(dates: Dates) -> str:
    """What is odd about the years of dates; nothing where they are plausible."""
    years = dates.clock.dropna().dt.year
    low, high = int(years.min()), int(years.max())
    if PLAUSIBLE[0] <= low and high <= PLAUSIBLE[1]:
        return ""
    return f"dates in {dates.name!r} are of the years {low} to {high}"


def _check_years(path: Path, dates: Dates) -> None:
    """``DataError`` where all years of dates that nobody named are as in another calendar."""
    years, odd = dates.clock.dropna().dt.year, _odd_years(dates)
    if not odd:
        return
    if years.between(*PLAUSIBLE).any():
        dates.remarks.append(odd)
        return
    thai = "; the Buddhist calendar is 543 years ahead" if years.between(2400, 2742).all() else ""
    raise DataError(
        f"{path}: {odd}, as in another calendar than the usual one{thai}: convert them, or give "
        f"{option('date', ','.join(dates.reading.columns))} where those are meant"
    )


def axis_again(
    path: Path, frame: pd.DataFrame, layout: Layout, remarks: list[str], groups: pd.Series | None = None
) -> Dates:
    """The dates of new data, in the columns that a model was trained on and written as they were there.

    What is written otherwise is read as it is, and that is said.

    Raises:
        DataError: a column is not there, or holds no dates.
    """
    reading, columns = layout.reading, [layout.date or ""]
    codes = None if groups is None else pd.factorize(groups)[0]
    if reading is not None:
        columns = reading.columns
        for name in columns:
            check_column(path, frame, name, "date")
        dates = read_dates(frame, columns, codes=codes, reading=reading)
        if dates is not None:
            _check_clock(path, dates)
            remarks.extend(dates.remarks)
            return dates
    dates = _named(path, frame, dated_columns(frame, columns), codes, {}, remarks)
    if reading is None:
        return dates
    remarks.append(
        f"dates in {dates.name!r} are written {dates.reading.style}, not {reading.style} as in training"
    )
    return dates.counted(reading.absolute)


def dated_columns(frame: pd.DataFrame, date: str | Sequence[str] | bool | None) -> list[str]:
    """The columns that the option ``date`` names."""
    if not date or date == NONE or date is True:
        return [NONE] if date == NONE and NONE in frame.columns else []
    if isinstance(date, str) and date not in frame.columns and "," in date:
        return [name.strip() for name in date.split(",")]
    return [date] if isinstance(date, str) else list(date)


def _named(
    path: Path,
    frame: pd.DataFrame,
    columns: list[str],
    codes: np.ndarray | None,
    options: dict[str, Any],
    remarks: list[str],
) -> Dates:
    for name in columns:
        check_column(path, frame, name, "date")
    dates = read_dates(frame, columns, codes=codes, **options)
    if dates is None:
        if len(columns) == 1:
            _check_zone_names(path, frame[columns[0]])
        present = frame[columns].dropna()
        shown = ", ".join(repr(value) for value in present.iloc[0].tolist()) if len(present) else "nothing"
        given = " and ".join(option(name, value) for name, value in options.items() if value is not None)
        raise DataError(
            f"{option('date')}: column {' + '.join(map(repr, columns))} of {path} does not hold dates, got {shown}"
            + (f" with {given}" if given else "")
            + f" (all but {MOST_MISFITS:.0%} must be written in one way; {_how_to_say(shown)})"
        )
    _check_clock(path, dates)
    remarks.extend(dates.remarks)
    if _odd_years(dates):
        remarks.append(f"{_odd_years(dates)}: they are taken as years of the usual calendar")
    _note_dayfirst(dates, options.get("dayfirst"), remarks)
    return dates


def _read(frame: pd.DataFrame, name: str, codes: np.ndarray | None, options: dict[str, Any]) -> list[Dates]:
    dates = read_dates(frame, [name], codes=codes, **options)
    return [] if dates is None else [dates]


def _is_axis(dates: Dates) -> bool:
    """Whether dates that nobody named are the time axis."""
    order, name = dates.order, dates.name
    if (
        order.distinct < 3
        or order.usual > 0.5
        or any(_NEVER.search(column) for column in dates.reading.columns)
    ):
        return False
    steady, regular = order.steady >= 0.5 and order.dense >= 0.5, order.dense >= 0.5
    rising = order.rising >= 0.9
    likely = bool(_LIKELY.search(name))
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


def _extended(frame: pd.DataFrame, dates: Dates, codes: np.ndarray | None, options: dict[str, Any]) -> Dates:
    """The dates, with the columns of the same rows' months, days and times where these make them repeat less."""
    if not dates.order.repeated or dates.reading.styles[0] in SERIALS:
        return dates
    held = {letter for style in dates.reading.styles for letter in re.findall(r"%[-^~:\d]?([A-Za-z])", style)}
    times = [] if held & set("HI") else ["", *TIMES_OF_DAY]
    for parts in (["%b", "%d", *times], ["%q"], ["%h"], ["%V"]) if held == {"Y"} else (times,):
        best = dates
        for part in parts:
            further = _with_part(frame, best, part, codes, options)
            if further is None and part == "%b":
                break
            best = further or best
        if best.order.repeated < dates.order.repeated:
            return best
    return dates


def _with_part(
    frame: pd.DataFrame,
    dates: Dates,
    part: str,
    codes: np.ndarray | None,
    options: dict[str, Any],
) -> Dates | None:
    """The dates with the first column that holds this part of them, "" being a time of day, and helps."""
    for name in map(str, frame.columns):
        likely = part_of(name) == part if part else part_of(name) is None and _LIKELY.search(name)
        if name in dates.reading.columns or not likely:
            continue
        found = read_dates(frame, [*dates.reading.columns, name], codes=codes, **options)
        if found is None or found.order.repeated > dates.order.repeated:
            continue
        if part in ("%b", "%d") or found.order.repeated < dates.order.repeated:
            return found
    return None


def _why_none(path: Path, frame: pd.DataFrame, found: list[Dates]) -> list[str]:
    """Why columns that hold dates, or are called so, are not taken for the time of the rows."""
    remarks = [
        f"dates in {dates.name!r} ({dates.reading.style}) neither rise with the rows nor fill a grid and are not taken "
        f"for their time; {option('date', dates.name)} takes them"
        for dates in found
        if dates.order.distinct > 2 and (not dates.weak or _LIKELY.search(dates.name))
    ]
    read = {name for dates in found for name in dates.reading.columns}
    for name in map(str, frame.columns):
        present = frame[name].dropna()
        if name in read or present.empty or pd.to_numeric(present, errors="coerce").notna().mean() > 0.9:
            continue
        if _UNLIKELY.search(name):
            continue
        _check_zone_names(path, frame[name])
        ways = None if _NEVER.search(name) else ways_of(frame[name])
        if ways:
            raise DataError(
                f"{option('date')}: column {name!r} of {path} holds dates written in several ways, {ways}; write them "
                f"in one way, or give {option('date', NONE)}"
            )
        if not _LIKELY.search(name):
            continue
        wrong = nearly_dates(frame[name])
        if wrong:
            raise DataError(
                f"{option('date')}: column {name!r} of {path} holds dates, but {wrong}, more than "
                f"{MOST_MISFITS:.0%}; correct them, or give {option('date', NONE)}"
            )
        remarks.append(
            f"{name!r} holds no dates written in one way (first: {present.iloc[0]!r}) and is not taken for time; "
            f"{_how_to_say(str(present.iloc[0]))}"
        )
    return remarks


def _check_zone_names(path: Path, column: pd.Series) -> None:
    """``DataError`` where dates in a column would be read but for the name of a zone that stands for several."""
    texts = column.dropna().astype(str)
    named = texts.str.extract(r"(?<![A-Za-z])([A-Z]{2,4})$", expand=False)
    unclear = named.isin(list(AMBIGUOUS))
    if not unclear.mean() > MOST_MISFITS:
        return
    others = texts.str.replace(r" *(?<![A-Za-z])[A-Z]{2,4}$", "", regex=True)
    if read_dates(pd.DataFrame({"": others}), [""]) is not None:
        row, name = unclear.idxmax(), named[unclear].iloc[0]
        raise DataError(
            f"{path}: {name!r} in column {column.name!r} ({texts[row]!r} in row {row + 1}) may be the time of "
            f"{AMBIGUOUS[name]}; write offsets such as +01:00"
            + (f", or give {option('tz', 'NAME/OF_ZONE')}" if len(name) > 2 else "")
        )


def _how_to_say(text: str) -> str:
    """What helps where a text is not read as a date: its format, and what of its words none reads."""
    how = f"{option('date_format', '%d.%m.%Y')}, or what it is, says how"
    words = unread_words(text)
    if words:
        how += (
            f"; {words[0]!r} is not read: names of months and days may be {LANGUAGES}, and zones offsets like +01:00 "
            "or names like CET"
        )
    return how


def _is_weak_axis(dates: Dates, likely: bool) -> bool:
    """Whether values that may be something else are the time axis."""
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
    loose = "%-" in style or style in ("%y%m%d", "%G%V", "%d%m%Y", "%m%d%Y", "%m.%Y", "%Y.%m")
    return (steady and (likely or not loose)) or (likely and (order.rising >= 0.9 or order.dense >= 0.5))


def _rank(dates: Dates) -> float:
    """How much rather than others dates are the axis."""
    name = dates.name
    return (
        dates.order.score
        + 0.5 * bool(_LIKELY.search(name))
        - bool(_UNLIKELY.search(name))
        - dates.order.usual
    )
