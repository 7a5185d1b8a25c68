"""Columns of dates: all values of a column are read by one pattern, which is found on all of them, and kept.

Up to a twentieth of a column may fail to fit; these values are counted and have no date. Where two patterns fit alike
(3/4 may be in March or in April), the one is taken whose dates rise step by step in the order of the rows; if that
does not decide, a remark says which was taken.

Dates with a zone or an offset are kept both in local time and in UTC; :func:`anyformer.tasks.series.find_step` chooses
in which of them steps are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from anyformer.dates import zones
from anyformer.dates.fitting import fitting_styles, leave_out_far, texts_of
from anyformer.dates.forms import (
    CLOCKS,
    PARTS,
    agrees,
    clock_in_one,
    known_styles,
    part_of,
    part_of_day,
)
from anyformer.dates.order import RowOrder
from anyformer.dates.reading import JOINT, DateReading, Dates
from anyformer.dates.serials import SERIALS, read_serials
from anyformer.dates.style import DateStyle, Parsed
from anyformer.dates.writing import parts_of_day
from anyformer.spelling import option

_ALIKE = 0.1  # ways of reading whose scores, of at most 3, differ by less are equally good


@dataclass(frozen=True)
class _Asked:
    """Arguments of reading dates: codes (N,) of the rows' groups, the format of earlier data, and the zone."""

    codes: np.ndarray
    reading: DateReading | None = None
    tz: str | None = None

    @property
    def zone(self) -> str | None:
        return self.reading.zone if self.reading else self.tz

    @property
    def first_year(self) -> int | None:
        return self.reading.first_year if self.reading else None

    @property
    def local(self) -> dict[str, float]:
        """Abbreviations of the zone, with their minutes ahead of UTC."""
        return zones.abbreviations(self.zone) if self.zone else {}


def read_dates(
    frame: pd.DataFrame,
    columns: list[str],
    *,
    codes: np.ndarray | None = None,
    date_format: str | None = None,
    dayfirst: bool | None = None,
    tz: str | None = None,
    reading: DateReading | None = None,
) -> Dates | None:
    """Return the dates in these columns of a table; None if no pattern fits nearly all of them.

    Args:
        codes: (N,), the number of each row's group; the order of rows counts within groups.
        date_format: the only pattern to try; blanks separate the parts for several columns.
        dayfirst: True if 3/4 is in April.
        tz: the zone of dates that have none.
        reading: the format of earlier data; the only one to try.
    """
    asked = _Asked(np.zeros(len(frame), np.int64) if codes is None else codes, reading, tz)
    if len(columns) == 1:
        column = frame[columns[0]]
        plain = date_format is None and reading is None
        if plain and pd.api.types.is_numeric_dtype(column) and not column.min() >= 1000:
            return None  # early, as tables may have thousands of such columns
        if pd.api.types.is_datetime64_any_dtype(column):
            return _from_datetimes(column, asked)
        style = reading.styles[0] if reading else date_format
        if style in SERIALS:
            return _from_serials(column, asked, [style])
    pieces = [piece for piece in (texts_of(frame[name]) for name in columns) if piece is not None]
    if len(pieces) < len(columns):
        numbers = len(columns) == 1 and date_format is None and reading is None
        return _from_serials(frame[columns[0]], asked, list(SERIALS)) if numbers else None
    texts = pieces[0]
    if len(pieces) > 1:
        texts = texts.astype(object).str.cat([piece.astype(object) for piece in pieces[1:]], sep=JOINT)
    if reading is not None:
        styles = [(DateStyle(JOINT.join(reading.styles)), 0)]
    elif date_format is not None:
        styles = [(_given(date_format, len(columns)), 0)]
    elif len(columns) == 1:
        styles = [(style, tier) for style, tier in known_styles() if agrees(style, dayfirst)]
    else:
        styles = [(style, 0) for style in _styles_of_columns(frame, columns, dayfirst)]
    found = _choose(columns, texts, styles, asked)
    if found is None and len(columns) == 1 and reading is None and date_format is None:
        return _from_serials(frame[columns[0]], asked, list(SERIALS))
    return found


# ------------------------------------------------------------------------------------------------- texts


def _choose(
    columns: list[str],
    texts: pd.Series,
    styles: list[tuple[DateStyle, int]],
    asked: _Asked,
) -> Dates | None:
    """Return the dates of texts by the style that fits best; None if none fits nearly all."""
    rows, unique = pd.factorize(texts)
    ways = []
    for style, parsed in fitting_styles(rows, unique, styles, asked.first_year, asked.local):
        dates = np.append(parsed.dates, np.datetime64("NaT"))[rows]
        ways.append(_Way(style.narrowed(parsed), parsed, dates, RowOrder.of(dates, asked.codes)))
    return _as_dates(columns, texts, rows, _ranked(ways), asked) if ways else None


@dataclass(frozen=True)
class _Way:
    """One way to read a column: its distinct texts parsed, and the dates of its rows."""

    style: DateStyle
    parsed: Parsed
    dates: np.ndarray
    order: RowOrder

    @property
    def span(self) -> tuple[bool, float]:
        """Sort key, lower for the likelier way: only first days of months, then the shorter span of time."""
        known = self.parsed.dates[~np.isnat(self.parsed.dates)]
        firsts = known.astype("datetime64[M]").astype("datetime64[us]") == known
        return not firsts.all(), float((known.max() - known.min()).astype(np.int64))


def _ranked(ways: list[_Way]) -> tuple[list[_Way], bool]:
    """Return the ways, the best first, and whether the order of the rows decided between them."""
    top = max(way.order.score for way in ways)
    alike = [way for way in ways if way.order.score > top - _ALIKE]
    first = min(alike, key=lambda way: way.span)
    return [first, *(way for way in ways if way is not first)], len(alike) == 1


def _as_dates(
    columns: list[str],
    texts: pd.Series,
    rows: np.ndarray,
    ranked: tuple[list[_Way], bool],
    asked: _Asked,
) -> Dates:
    reading = asked.reading
    (way, *others), told = ranked
    name, remarks = " + ".join(columns), list[str]()
    style = way.style.pattern.replace(JOINT, " ")
    if others:
        differs = ~np.isnat(way.dates) & (way.dates != others[0].dates)
        example = texts.iloc[int(differs.argmax())].replace(JOINT, " ")
        other = others[0].style.pattern.replace(JOINT, " ")
        why = (
            f"so that its dates go on by {way.order.step}" if told else "though its dates do not decide which"
        )
        give = "" if len(columns) == 1 else f"{option('date', ','.join(columns))} and "
        remarks.append(
            f"{name!r} ({example}) is read as {style} and not as {other}, {why}; give "
            f"{give}{option('date_format', other)} otherwise"
        )
    if way.parsed.first_year is not None:
        known = way.dates[~np.isnat(way.dates)].astype("datetime64[Y]")
        remarks.append(f"two-digit years in {name!r} are read as {known.min()} to {known.max()}")
    if way.parsed.finer:
        remarks.append(
            f"{way.parsed.finer} values of {name!r} are finer than a microsecond and truncated to one"
        )
    if any(part.letter in ("H", "t") and part.flag.endswith("1") for part in way.style.directives):
        remarks.append(f"hours in {name!r} go from 1 to 24, which is the midnight that ends the day")
    for part in way.style.directives:
        if part.letter == "n":
            count, first = parts_of_day(part)
            remarks.append(
                f"numbers in {columns[-1]!r} go from {first} to {first + count - 1} and count equal parts of the day"
            )
    wrong = np.flatnonzero((rows >= 0) & np.isnat(way.dates))
    if len(wrong):
        shown = texts.iloc[wrong[0]].replace(JOINT, " ")
        remarks.append(
            f"{len(wrong)} of {len(texts)} values of {name!r} are no plausible dates written {style} (first: {shown!r} "
            f"in row {wrong[0] + 1})"
        )
    offsets = None if way.parsed.offsets is None else np.append(way.parsed.offsets, np.nan)[rows]
    zone, clock, instants, skipped = _in_zone(name, way.dates, offsets, asked, remarks)
    styles = (reading.styles if reading else way.style.pattern.split(JOINT)) or []
    made = DateReading(
        columns=columns,
        styles=styles,
        zone=zone,
        first_year=way.parsed.first_year,
        absolute=bool(reading and reading.absolute),
        names=reading.names if reading else way.style.names,
    )
    clocks, moments = pd.Series(clock, texts.index), pd.Series(instants, texts.index)
    return Dates(made, clocks, moments, way.order, remarks, skipped)


def _in_zone(
    name: str, dates: np.ndarray, offsets: np.ndarray | None, asked: _Asked, remarks: list[str]
) -> tuple[str | None, np.ndarray, np.ndarray, str]:
    """Return the zone of dates with these offsets, the dates in local time and in UTC, and a message on skips."""
    zone = asked.zone
    if offsets is None or np.isnan(offsets).all():
        instants, twice, skipped = zones.in_order(dates, zone, asked.codes)
        if twice.any():
            remarks.append(
                f"{int(twice.sum())} times in {name!r} come twice on the clocks of {zone}; the order of the "
                "rows decides which is meant"
            )
        first = int(skipped.argmax())
        wrong = (
            f"clocks show no {dates[first].astype('datetime64[s]')} (in row {first + 1})"
            if skipped.any()
            else ""
        )
        return zone, dates, instants, wrong
    given = ~np.isnan(offsets)
    ahead = np.where(given, offsets * 60e6, 0).astype("timedelta64[us]")
    instants = dates - ahead
    known = given & ~np.isnat(dates)
    if zone is None or not np.array_equal(zones.offsets_at(instants[known], zone), offsets[known]):
        zone = zones.zone_of(instants[known], offsets[known])
        if zone is None:
            remarks.append(
                f"offsets in {name!r} change as in no time zone: forecasts have none if steps are counted in local "
                "time, and are in UTC otherwise"
            )
            return None, dates, np.where(given, instants, dates), ""
        if "/" in zone:
            remarks.append(
                f"offsets in {name!r} change as in {zone}, whose clocks later dates are written in"
            )
    if asked.tz is not None and zone != asked.tz:
        remarks.append(
            f"{option('tz', asked.tz)} says nothing about {name!r}, whose dates are those of other clocks"
        )
    instants[~given] = zones.to_instants(dates[~given], zone)
    return zone, dates, instants, ""


# ------------------------------------------------------------------------------------------------- dates and numbers


def _from_datetimes(column: pd.Series, asked: _Asked) -> Dates | None:
    """Return the dates of a column of datetimes; None if it has none."""
    if column.notna().sum() == 0:
        return None
    zone, clock = zones.name_of(column), column
    if zone is not None:
        clock = column.dt.tz_localize(None)
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = clock.astype("datetime64[us]").to_numpy().copy()
    (far, (low, high)), remarks = leave_out_far(values), list[str]()
    if np.isnat(values).all():
        return None
    if far and np.isnat(values).sum() > clock.isna().sum():
        remarks.append(
            f"{far} of {len(values)} values of {column.name!r} lie outside the years {low} to {high} and count as no "
            "dates"
        )
    clock = pd.Series(values, column.index, copy=False)
    skipped, reading = "", asked.reading
    own = zone is not None
    if not own:
        zone, _, moments, skipped = _in_zone(str(column.name), values, None, asked, remarks)
        instants = pd.Series(moments, column.index, copy=False)
    else:
        instants = column.astype("datetime64[us]").where(clock.notna())
    if own and asked.tz is not None and zone != asked.tz:
        remarks.append(
            f"{option('tz', asked.tz)} says nothing about {column.name!r}, whose dates are those of {zone}"
        )
    known = clock.dropna().to_numpy()
    style = "%Y-%m-%d"
    if own or (known != known.astype("datetime64[D]")).any():
        fraction = ".%f" if (known != known.astype("datetime64[s]")).any() else ""
        style += f" %H:%M:%S{fraction}" + ("%:z" if own else "")
    made = DateReading(
        columns=[str(column.name)], styles=[style], zone=zone, absolute=bool(reading and reading.absolute)
    )
    return Dates(made, clock, instants, RowOrder.of(values, asked.codes), remarks, skipped)


def _from_serials(column: pd.Series, asked: _Asked, tried: list[str]) -> Dates | None:
    """Return the dates of serial numbers, by the first of the kinds ``tried`` that makes them plausible."""
    found = read_serials(column, tried)
    if found is None:
        return None
    (kind, dates), remarks = found, list[str]()
    offsets = None if kind == "excel" else np.zeros(len(dates))
    zone, _, instants, skipped = _in_zone(str(column.name), dates, offsets, asked, remarks)
    absolute = bool(asked.reading and asked.reading.absolute)
    made = DateReading(columns=[str(column.name)], styles=[kind], zone=zone, absolute=absolute)
    clocks, moments = pd.Series(dates, column.index), pd.Series(instants, column.index)
    return Dates(made, clocks, moments, RowOrder.of(dates, asked.codes), remarks, skipped)


# ------------------------------------------------------------------------------------------------- styles


def _given(date_format: str, columns: int) -> DateStyle:
    """Return the style of the user's format, in which blanks separate the parts for several columns."""
    if columns > 1 and date_format.count(" ") != columns - 1:
        raise ValueError(
            f"{option('date_format')} must have {columns} parts with a blank between, one for each column, got "
            f"{date_format!r}"
        )
    return DateStyle(date_format if columns == 1 else date_format.replace(" ", JOINT))


def _styles_of_columns(frame: pd.DataFrame, columns: list[str], dayfirst: bool | None) -> list[DateStyle]:
    """Return the styles by which these columns may make up a date."""
    ways: list[tuple[str, ...]] = []
    for name in columns:
        part, texts = part_of(name), texts_of(frame[name])
        texts = None if texts is None else texts.astype(object)
        if part == "%n" or (part == "%M" and pd.to_numeric(frame[name], errors="coerce").max() > 59):
            numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
            found = part_of_day(numbers)
            if found:
                ways.append((found,))
                continue
        elif part in (None, "%H", "%t") and (in_one := clock_in_one(texts)):
            ways.append((in_one,))
            continue
        elif part:
            ways.append(PARTS[part][1])
            continue
        known = [one for one in known_styles() if agrees(one[0], dayfirst)]
        rows, unique = pd.factorize(pd.Series(dtype=object) if texts is None else texts)
        alone = fitting_styles(rows, unique, known)
        ways.append(tuple(style.narrowed(parsed).pattern for style, parsed in alone) or CLOCKS)
    week = any("%-V" in way for way in ways)
    styles = []
    for choice in product(*ways):
        pattern = JOINT.join(choice)
        try:
            styles.append(DateStyle(pattern.replace("%Y", "%G") if week else pattern))
        except ValueError:  # two years, or none
            continue
    return styles
