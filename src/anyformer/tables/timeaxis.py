"""The time axis of a table: the columns that date its rows.

The axis holds full dates that mostly rise in the order of the rows, within each group, or fill a regular grid, or are
distinct. Numbers and two-digit years, which may be other things, must meet more; times of day, dates of birth and
columns that hardly change are never the axis. If dates repeat and further columns (a time, an hour, a month beside a
year) distinguish the rows, the columns are read together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.axisrules import LIKELY, NEVER, UNLIKELY, is_axis, rank
from anyformer.dates.columns import read_dates
from anyformer.dates.fitting import MOST_MISFITS, PLAUSIBLE, nearly_dates, ways_of
from anyformer.dates.forms import TIMES_OF_DAY, day_first, part_of
from anyformer.dates.names import AMBIGUOUS, LANGUAGES, unread_words
from anyformer.dates.reading import DateReading, Dates
from anyformer.dates.serials import SERIALS
from anyformer.dates.style import DateStyle
from anyformer.dates.zones import check_zone
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import check_column
from anyformer.tables.reading import Table

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
    """Return the dates of a table's rows; None if it has none, or ``date`` is ``"none"``.

    Args:
        path: of the file, for messages.
        date: the column, or the columns that make up a date; found where not given.
        groups: the key of each row's series.
        date_format, dayfirst, tz: see :func:`anyformer.dates.columns.read_dates`.
        remarks: takes the decisions made.

    Raises:
        DataError: a column that was named holds no dates, or not such dates.
    """
    options = {"date_format": date_format, "dayfirst": dayfirst, "tz": None if tz is None else check_zone(tz)}
    codes = None if groups is None else pd.factorize(groups)[0].astype(np.int32)
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
        found += _short_years(frame, codes, options)
        found = [_extended(frame, dates, codes, options) for dates in found]
    fitting = [dates for dates in found if is_axis(dates)]
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
    best = max(fitting, key=rank)
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
    """Return a table's columns as texts of the file (01.10 is neither 1.1 nor 110); fractions stay numbers.

    Texts are categories, so that each different one is read once.
    """
    columns = {}
    for name in table.frame.columns:
        column = table.frame[name]
        if pd.api.types.is_float_dtype(column) and column.notna().any():
            first = str(table.keys(name).dropna().iloc[0])
            if not re.fullmatch(r"\d{4}\.\d\d?|\d\d?\.\d{4}|\d+\.0+", first):
                columns[name] = column
                continue
        small = (
            pd.api.types.is_integer_dtype(column)
            and part_of(str(name)) is None
            and not column.min() >= 1000
            and not LIKELY.search(str(name))
        )
        whole = table.distinct if name in table.written else table.keys
        columns[name] = column if small else whole(name)
    return pd.DataFrame(columns, index=table.frame.index, copy=False)


def _note_dayfirst(dates: Dates, dayfirst: bool | None, remarks: list[str]) -> None:
    style = dates.reading.style
    told = style not in SERIALS and not style.startswith("%Y") and day_first(DateStyle(style)) is not None
    if dayfirst is not None and not told:
        remarks.append(
            f"{option('dayfirst', dayfirst)} says nothing about {dates.name!r}, which is written {dates.reading.style}"
        )


def _check_clock(path: Path, dates: Dates) -> None:
    """Raise ``DataError`` if a date is in an hour that clocks of its zone skip."""
    if dates.skipped:
        raise DataError(
            f"{path}: {dates.skipped} in {dates.name!r}, as those of {dates.reading.zone} skip it in spring; give "
            f"the zone of the times with {option('tz')}"
        )


def _odd_years(dates: Dates) -> str:
    """Return a remark on the years of dates; empty if they are plausible."""
    years = dates.clock.dropna().dt.year
    low, high = int(years.min()), int(years.max())
    if PLAUSIBLE[0] <= low and high <= PLAUSIBLE[1]:
        return ""
    return f"dates in {dates.name!r} are of the years {low} to {high}"


def _check_years(path: Path, dates: Dates) -> None:
    """Raise ``DataError`` if all years of a column that the user did not name are those of another calendar."""
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
    path: Path,
    frame: pd.DataFrame,
    date: str | None,
    reading: DateReading | None,
    remarks: list[str],
    groups: pd.Series | None = None,
) -> Dates:
    """Return the dates of new data, in the columns and the format that a model was trained on.

    Dates in another format are read too, with a remark.

    Raises:
        DataError: a column is not there, or holds no dates.
    """
    columns = [date or ""]
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
    """Return the columns that the option ``date`` names."""
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


def _short_years(frame: pd.DataFrame, codes: np.ndarray | None, options: dict[str, Any]) -> list[Dates]:
    """Return the dates in columns named year, of two digits, and month, with the day if there is one."""
    named = {
        part: [name for name in map(str, frame.columns) if part_of(name) == part]
        for part in ("%Y", "%b", "%d")
    }
    found = []
    for year, month in product(named["%Y"], named["%b"]):
        if not frame[year].dropna().astype(str).str.fullmatch(r"\d{1,2}").all():
            continue
        dates = read_dates(frame, [year, month, *named["%d"][:1]], codes=codes, **options)
        found += [] if dates is None else [dates]
    return found


def _extended(frame: pd.DataFrame, dates: Dates, codes: np.ndarray | None, options: dict[str, Any]) -> Dates:
    """Return the dates, joined with columns of months, days and times if these make them repeat less."""
    if not dates.order.repeated or dates.reading.styles[0] in SERIALS:
        return dates
    held = {letter for style in dates.reading.styles for letter in re.findall(r"%[-^~:\d]?([A-Za-z])", style)}
    times = [] if held & set("HIt") else ["", *TIMES_OF_DAY]
    for parts in (
        (["%b", "%d", *times], ["%j", *times], ["%q"], ["%h"], ["%V"]) if held == {"Y"} else (times,)
    ):
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
    """Return the dates joined with the first column of this part ("": a time of day) that helps; None if none."""
    for name in map(str, frame.columns):
        likely = part_of(name) == part if part else part_of(name) is None and LIKELY.search(name)
        if name in dates.reading.columns or not likely:
            continue
        found = read_dates(frame, [*dates.reading.columns, name], codes=codes, **options)
        if found is None or found.order.repeated > dates.order.repeated:
            continue
        if part in ("%b", "%d") or found.order.repeated < dates.order.repeated:
            return found
    return None


def _why_none(path: Path, frame: pd.DataFrame, found: list[Dates]) -> list[str]:
    """Return remarks on columns of dates, or named like dates, that are not the time axis."""
    remarks = [
        f"dates in {dates.name!r} ({dates.reading.style}) neither rise with the rows nor fill a grid, so that they "
        f"are not their times; {option('date', dates.name)} takes them"
        for dates in found
        if dates.order.distinct > 2 and (not dates.weak or LIKELY.search(dates.name))
    ]
    read = {name for dates in found for name in dates.reading.columns}
    for name in map(str, frame.columns):
        present = frame[name].dropna()
        if name in read or present.empty:
            continue
        if isinstance(present.dtype, pd.CategoricalDtype):
            present = present.astype(object)
        numbers = pd.to_numeric(present, errors="coerce").dropna()
        if len(numbers) > 0.9 * len(present):
            if LIKELY.search(name) and _may_be_years(numbers):
                remarks.append(
                    f"{name!r} holds numbers that may be years and parts of them (first: {present.iloc[0]}), which are "
                    f"not read as dates and not taken for time; {option('kind', 'forecast')} takes the rows in their "
                    "order"
                )
            continue
        if UNLIKELY.search(name):
            continue
        _check_zone_names(path, frame[name])
        ways = None if NEVER.search(name) else ways_of(frame[name])
        if ways:
            raise DataError(
                f"{option('date')}: column {name!r} of {path} holds dates written in several ways, {ways}; write them "
                f"in one way, or give {option('date', NONE)}"
            )
        if not LIKELY.search(name):
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


def _may_be_years(numbers: pd.Series) -> bool:
    """True if numbers rise as years with fractions would, 1949.083 being January's end."""
    return bool(
        numbers.between(*PLAUSIBLE).all()
        and numbers.is_monotonic_increasing
        and (numbers % 1 > 0).any()
        and numbers.diff().max() < 2
    )


def _check_zone_names(path: Path, column: pd.Series) -> None:
    """Raise ``DataError`` if dates in a column cannot be read only because the name of their zone is ambiguous."""
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
    """Return advice for a text that is not read as a date: the option, and words in it that are not known."""
    how = f"{option('date_format', '%d.%m.%Y')}, or what it is, says how"
    words = unread_words(text)
    if words:
        how += (
            f"; {words[0]!r} is not read: names of months and days may be {LANGUAGES}, and zones offsets like +01:00 "
            "or names like CET"
        )
    return how
