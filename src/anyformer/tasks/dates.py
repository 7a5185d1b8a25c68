"""Columns of dates: all values of a column are read in one way, which is found on all of them, and kept.

Values that do not fit are borne in up to a twentieth of a column; they are counted and have no date. Where two ways
fit all values alike (3/4 may be in March or in April), the one is taken whose dates rise step by step in the order of
the rows; if that does not tell either, it is said which was taken.

Dates with a zone or an offset are kept as clocks show them and as instants; see
:func:`anyformer.tasks.series.find_step` for which of them steps are counted on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from anyformer.spelling import option
from anyformer.tasks import zones
from anyformer.tasks.dateforms import CLOCKS, PARTS, agrees, known_styles, part_of
from anyformer.tasks.datestyle import Parsed, Style
from anyformer.tasks.order import Order

MOST_MISFITS = 0.05
#: Numbers that count time: the microseconds in one.
SERIALS = {"unix_s": 1e6, "unix_ms": 1e3, "unix_us": 1.0, "unix_ns": 1e-3, "excel": 86_400e6}
_JOINT = "\x1f"  # between the texts of columns that make one date
_ALIKE = 0.1  # two ways of reading whose scores, of at most 3, differ by less are equally good


class Reading(BaseModel):
    """How dates are written in a file, kept with the model so that new data is read and predictions written alike.

    Attributes:
        columns: the columns that make a date together, most often one.
        styles: the pattern of each (see :mod:`anyformer.tasks.datestyle`), or ``unix_s``, ``unix_ms``, ``unix_us``,
            ``unix_ns`` or ``excel`` for numbers that count time.
        zone: whose clocks are shown; None where nothing is said of it, or the offsets are of several.
        first_year: of the hundred years that two digits stand for.
        absolute: whether steps are counted in UTC instead of on the clocks of the zone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: list[str]
    styles: list[str]
    zone: str | None = None
    first_year: int | None = None
    absolute: bool = False

    @property
    def name(self) -> str:
        """The columns, in words."""
        return " + ".join(self.columns)

    @property
    def style(self) -> str:
        """The styles, in words."""
        return " + ".join(self.styles)

    def write(self, dates: np.ndarray) -> dict[str, list[str]]:
        """Dates (datetime64[us]), in UTC where ``absolute``, as the texts of each column."""
        clock = zones.to_clock(dates, self.zone) if self.absolute else dates
        instants = dates if self.absolute else zones.to_instants(dates, self.zone)
        if self.styles[0] in SERIALS:
            return {self.columns[0]: [_serial(date, self.styles[0]) for date in clock]}
        offsets = zones.offsets_at(instants, self.zone)
        if self.absolute and self.zone is None:
            offsets = np.zeros(len(dates))
        style = Style(_JOINT.join(self.styles))
        texts = [style.show(date, offset).split(_JOINT) for date, offset in zip(clock, offsets)]
        return {name: [text[i] for text in texts] for i, name in enumerate(self.columns)}


@dataclass(frozen=True)
class Dates:
    """The dates of a table's rows.

    Attributes:
        reading: how they are written.
        clock: as clocks show them, datetime64[us] with the table's index; NaT where there is none.
        instants: the same in UTC; equal to ``clock`` where no zone is known.
        order: what they look like in the order of the rows.
        remarks: what was decided about them.
    """

    reading: Reading
    clock: pd.Series
    instants: pd.Series
    order: Order
    remarks: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The columns, in words."""
        return self.reading.name

    @property
    def weak(self) -> bool:
        """Whether the values could be something else: numbers, or texts with a year of two digits."""
        if self.reading.styles[0] in SERIALS:
            return True
        style = Style(_JOINT.join(self.reading.styles))
        bare = not (style.literals or "b" in style.letters)
        return "y" in style.letters or bare or style.pattern in ("%m.%Y", "%-m.%Y", "%Y.%m")

    @property
    def values(self) -> pd.Series:
        """The dates that steps are counted on."""
        return self.instants if self.reading.absolute else self.clock

    def counted(self, absolute: bool) -> Dates:
        """The same dates, with steps counted in UTC or on the clock."""
        return replace(self, reading=self.reading.model_copy(update={"absolute": absolute}))


def read_dates(
    frame: pd.DataFrame,
    columns: list[str],
    *,
    codes: np.ndarray | None = None,
    date_format: str | None = None,
    dayfirst: bool | None = None,
    reading: Reading | None = None,
) -> Dates | None:
    """The dates in these columns of a table, read in one way; None where no way fits nearly all of them.

    Args:
        codes: numbers of the groups that tell series apart; the order of rows is looked at within each.
        date_format: the only way to be tried. The parts for several columns are parted by a blank.
        dayfirst: whether 3/4 is in April.
        reading: how earlier data was written; the only way to be tried.
    """
    codes = np.zeros(len(frame), np.int64) if codes is None else codes
    if len(columns) == 1:
        column = frame[columns[0]]
        plain = date_format is None and reading is None
        if plain and pd.api.types.is_numeric_dtype(column) and not column.min() >= 1000:
            return None  # at once, as tables may have thousands of such columns
        if pd.api.types.is_datetime64_any_dtype(column):
            return _from_datetimes(column, codes, reading)
        style = reading.styles[0] if reading else date_format
        if style in SERIALS:
            return _from_serials(column, codes, [style])
    pieces = [piece for piece in (_texts(frame[name]) for name in columns) if piece is not None]
    if len(pieces) < len(columns):
        numbers = len(columns) == 1 and date_format is None and reading is None
        return _from_serials(frame[columns[0]], codes, list(SERIALS)) if numbers else None
    texts = pieces[0] if len(pieces) == 1 else pieces[0].str.cat(pieces[1:], sep=_JOINT)
    if reading is not None:
        styles = [(Style(_JOINT.join(reading.styles)), 0)]
    elif date_format is not None:
        styles = [(_given(date_format, len(columns)), 0)]
    elif len(columns) == 1:
        styles = [(style, tier) for style, tier in known_styles() if agrees(style, dayfirst)]
    else:
        styles = [(style, 0) for style in _styles_of_columns(frame, columns, dayfirst)]
    found = _choose(columns, texts, codes, styles, reading)
    if found is None and len(columns) == 1 and reading is None and date_format is None:
        return _from_serials(frame[columns[0]], codes, list(SERIALS))
    return found


def nearly_dates(column: pd.Series) -> str | None:
    """What is wrong with a column of which at least half are dates written in one way; None for any other column."""
    texts = _texts(column)
    if texts is None:
        return None
    rows, unique = pd.factorize(texts)
    for style, parsed in _fitting(rows, unique, known_styles(), misfits=0.5)[:1]:
        wrong = np.flatnonzero((rows >= 0) & np.isnat(np.append(parsed.dates, np.datetime64("NaT"))[rows]))
        shown = style.narrowed(parsed).pattern
        first = f"(first: {texts.iloc[wrong[0]]!r} in row {wrong[0] + 1})" if len(wrong) else ""
        return f"{len(wrong)} of {len(texts)} values are no plausible dates written {shown} {first}"
    return None


# ------------------------------------------------------------------------------------------------- texts


def _texts(column: pd.Series) -> pd.Series | None:
    """Values as stripped texts, None where missing; None where there are none, or no texts, dates or whole numbers."""
    kinds = pd.api.types
    if kinds.is_bool_dtype(column):
        return None
    present = column.dropna()
    if kinds.is_numeric_dtype(column):
        values = present.to_numpy(dtype=np.float64)
        if (
            not len(values)
            or not (np.equal(values, np.round(values)) & (values >= 0) & (values < 1e18)).all()
        ):
            return None
        texts = present.astype("int64").astype(str)
    elif kinds.is_datetime64_any_dtype(column):
        texts = present.dt.strftime("%Y-%m-%d")
    else:
        texts = present.astype(str).str.strip()
        texts = texts[texts != ""]
        if texts.empty:
            return None
        if texts.str.fullmatch(
            r"\d+\.0+"
        ).all():  # whole numbers, written as those among which one is missing are
            texts = texts.str.partition(".")[0]
    return texts.astype(object).reindex(column.index, fill_value=None)


def _choose(
    columns: list[str],
    texts: pd.Series,
    codes: np.ndarray,
    styles: list[tuple[Style, int]],
    reading: Reading | None,
) -> Dates | None:
    """The texts read in the style that suits them best; None where none fits nearly all."""
    rows, unique = pd.factorize(texts)
    ways = []
    for style, parsed in _fitting(rows, unique, styles, reading):
        dates = np.append(parsed.dates, np.datetime64("NaT"))[rows]
        ways.append(_Way(style.narrowed(parsed), parsed, dates, Order.of(dates, codes)))
    return _as_dates(columns, texts, rows, _ranked(ways), reading) if ways else None


def _fitting(
    rows: np.ndarray,
    unique: np.ndarray,
    styles: list[tuple[Style, int]],
    reading: Reading | None = None,
    misfits: float = MOST_MISFITS,
) -> list[tuple[Style, Parsed]]:
    """The styles that fit the most values, and nearly all, with what they make of each different one.

    Args:
        rows: which of the different texts ``unique`` stands in each row; -1 where none does.
        styles: with their tiers, in their order; only the lowest that fits is kept.
        misfits: the share of values that need not fit.
    """
    counts = np.bincount(rows[rows >= 0], minlength=len(unique))
    if not len(unique):
        return []
    array, sample = pa.array(unique, pa.string()), unique[np.linspace(0, len(unique) - 1, 40).astype(int)]
    tried: list[tuple[Style, int, Parsed, int]] = []
    some = [set(text) for text in sample[:: max(len(sample) // 3, 1)]]
    holds = {
        letters: any(letters <= text for text in some) for letters in {style.literals for style, _ in styles}
    }
    for style, tier in styles:  # those that lack a letter are passed over before their expression is compiled
        if tried and tier > tried[0][1]:
            break
        if not holds[style.literals] or not _fits_sample(style, sample, misfits):
            continue
        parsed = style.parse(array, reading.first_year if reading else None)
        _leave_out_far(parsed.dates)
        fits = int(counts[~np.isnat(parsed.dates)].sum())
        if fits >= (1 - misfits) * counts.sum():
            tried.append((style, tier, parsed, fits))
    if not tried:
        return []
    most = max(fits for *_, fits in tried)
    found: list[tuple[Style, Parsed]] = []
    for style, _, parsed, fits in tried:
        again = any(np.array_equal(parsed.dates, other.dates, equal_nan=True) for _, other in found)
        if fits == most and not again:
            found.append((style, parsed))
    return found


@dataclass(frozen=True)
class _Way:
    """One way to read a column: what its different texts mean, and the dates of its rows."""

    style: Style
    parsed: Parsed
    dates: np.ndarray
    order: Order

    @property
    def span(self) -> tuple[bool, float]:
        """Less for what is likelier where nothing else tells: first days of months, then the shorter time."""
        known = self.parsed.dates[~np.isnat(self.parsed.dates)]
        firsts = known.astype("datetime64[M]").astype("datetime64[us]") == known
        return not firsts.all(), float((known.max() - known.min()).astype(np.int64))


def _ranked(ways: list[_Way]) -> tuple[list[_Way], bool]:
    """The ways, the one to be taken first; and whether the order of the rows told which."""
    top = max(way.order.score for way in ways)
    alike = [way for way in ways if way.order.score > top - _ALIKE]
    first = min(alike, key=lambda way: way.span)
    return [first, *(way for way in ways if way is not first)], len(alike) == 1


def _as_dates(
    columns: list[str],
    texts: pd.Series,
    rows: np.ndarray,
    ranked: tuple[list[_Way], bool],
    reading: Reading | None,
) -> Dates:
    (way, *others), told = ranked
    name, remarks = " + ".join(columns), list[str]()
    style = way.style.pattern.replace(_JOINT, " ")
    if others:
        differs = ~np.isnat(way.dates) & (way.dates != others[0].dates)
        example = texts.iloc[int(differs.argmax())].replace(_JOINT, " ")
        other = others[0].style.pattern.replace(_JOINT, " ")
        why = f"so that its dates go on by {way.order.step}" if told else "though its dates do not tell which"
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
            f"{way.parsed.finer} values of {name!r} are finer than a microsecond and cut off there"
        )
    wrong = np.flatnonzero((rows >= 0) & np.isnat(way.dates))
    if len(wrong):
        shown = texts.iloc[wrong[0]].replace(_JOINT, " ")
        remarks.append(
            f"{len(wrong)} of {len(texts)} values of {name!r} are no plausible dates written {style} (first: {shown!r} "
            f"in row {wrong[0] + 1})"
        )
    offsets = None if way.parsed.offsets is None else np.append(way.parsed.offsets, np.nan)[rows]
    zone, clock, instants = _in_zone(name, way.dates, offsets, reading, remarks)
    styles = (reading.styles if reading else way.style.pattern.split(_JOINT)) or []
    made = Reading(
        columns=columns,
        styles=styles,
        zone=zone,
        first_year=way.parsed.first_year,
        absolute=bool(reading and reading.absolute),
    )
    return Dates(made, pd.Series(clock, texts.index), pd.Series(instants, texts.index), way.order, remarks)


def _in_zone(
    name: str, dates: np.ndarray, offsets: np.ndarray | None, reading: Reading | None, remarks: list[str]
) -> tuple[str | None, np.ndarray, np.ndarray]:
    """The zone of dates with these offsets, and the dates on its clocks and in UTC."""
    zone = reading.zone if reading else None
    if offsets is None:
        return zone, dates, zones.to_instants(dates, zone)
    given = ~np.isnan(offsets)
    ahead = np.where(given, offsets * 60e6, 0).astype("timedelta64[us]")
    instants = dates - ahead
    if not given.any():
        return zone, dates, instants
    known = given & ~np.isnat(dates)
    if zone is None or not np.array_equal(zones.offsets_at(instants[known], zone), offsets[known]):
        zone = zones.zone_of(instants[known], offsets[known])
        if zone is None:
            remarks.append(
                f"offsets in {name!r} change as in no time zone: forecasts have none where steps are counted on the "
                "clock, else they are in UTC"
            )
            return None, dates, np.where(given, instants, dates)
        if "/" in zone:
            remarks.append(
                f"offsets in {name!r} change as in {zone}, whose clocks later dates are written in"
            )
    instants[~given] = zones.to_instants(dates[~given], zone)
    return zone, dates, instants


# ------------------------------------------------------------------------------------------------- dates and numbers


def _from_datetimes(column: pd.Series, codes: np.ndarray, reading: Reading | None) -> Dates | None:
    """The dates of a column that holds nothing else."""
    if column.notna().sum() == 0:
        return None
    zone, clock = zones.name_of(column), column
    if zone is not None:
        clock = column.dt.tz_localize(None)
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = clock.astype("datetime64[us]").to_numpy().copy()
    far, remarks = _leave_out_far(values), list[str]()
    if np.isnat(values).all():
        return None
    if far and np.isnat(values).sum() > clock.isna().sum():
        remarks.append(
            f"{far} of {len(values)} values of {column.name!r} lie outside the years 1000 to 2999 and count as no dates"
        )
    clock = pd.Series(values, column.index)
    instants = column.astype("datetime64[us]").where(clock.notna())
    known = clock.dropna().to_numpy()
    style = "%Y-%m-%d"
    if zone is not None or (known != known.astype("datetime64[D]")).any():
        fraction = ".%f" if (known != known.astype("datetime64[s]")).any() else ""
        style += f" %H:%M:%S{fraction}" + ("%:z" if zone is not None else "")
    made = Reading(
        columns=[str(column.name)], styles=[style], zone=zone, absolute=bool(reading and reading.absolute)
    )
    return Dates(made, clock, instants, Order.of(values, codes), remarks)


def _from_serials(column: pd.Series, codes: np.ndarray, tried: list[str]) -> Dates | None:
    """The dates that numbers count in the first of these ways that makes them plausible."""
    try:
        values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        return None
    if pd.api.types.is_bool_dtype(column) or not np.isfinite(values).any():
        return None
    present = values[np.isfinite(values)]
    for kind in tried:
        size, (low, high) = SERIALS[kind], _PLAUSIBLE[kind]
        if not (low <= present.min() and present.max() < high):
            continue
        origin = _EXCEL if kind == "excel" else _EPOCH
        whole = np.floor(values)
        micro = np.where(np.isfinite(values), np.rint(whole * size) + np.rint((values - whole) * size), 0)
        dates = origin + micro.astype("timedelta64[us]")
        if kind == "excel":  # whose times are fractions of a day: exact to the millisecond
            dates = (dates + np.timedelta64(500, "us")).astype("datetime64[ms]").astype("datetime64[us]")
        dates[~np.isfinite(values)] = np.datetime64("NaT")
        made = Reading(columns=[str(column.name)], styles=[kind], zone=None if kind == "excel" else "UTC")
        series = pd.Series(dates, column.index)
        return Dates(made, series, series, Order.of(dates, codes))
    return None


_EXCEL, _EPOCH = np.datetime64("1899-12-30", "us"), np.datetime64("1970-01-01", "us")
_PLAUSIBLE = {
    kind: (94_694_400e6 / size, 4_102_444_800e6 / size) for kind, size in SERIALS.items()
}  # 1973 to 2100
_PLAUSIBLE["excel"] = (10_000.0, 80_000.0)  # 1927 to 2119


def _serial(date: np.datetime64, kind: str) -> str:
    ticks = (date - (_EXCEL if kind == "excel" else _EPOCH)).astype(np.int64) / SERIALS[kind]
    return str(int(ticks)) if ticks == int(ticks) else repr(float(ticks))


# ------------------------------------------------------------------------------------------------- styles


def _leave_out_far(dates: np.ndarray) -> int:
    """Set dates (N,) outside the years 1000 to 2999 to NaT, where others are inside; how many there are.

    Such as 9999-12-31 and 0001-01-01, which databases hold for "never".
    """
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    far = ~np.isnat(dates) & ((years < 1000) | (years > 2999))
    if far.any() and not (far | np.isnat(dates)).all():
        dates[far] = np.datetime64("NaT")
    return int(far.sum())


def _fits_sample(style: Style, sample: np.ndarray, misfits: float) -> bool:
    """Whether these texts may be from a column of which no more than this share has not the form of the style."""
    left = len(sample) * (misfits + 0.15)
    for text in sample:
        left -= style.form.match(text.zfill(style.width)) is None
        if left < 0:
            return False
    return True


def _given(date_format: str, columns: int) -> Style:
    """The style of the user's format, whose blanks part the columns where there are several."""
    if columns > 1 and date_format.count(" ") != columns - 1:
        raise ValueError(
            f"{option('date_format')} must have {columns} parts with a blank between, one for each column, got "
            f"{date_format!r}"
        )
    return Style(date_format if columns == 1 else date_format.replace(" ", _JOINT))


def _styles_of_columns(frame: pd.DataFrame, columns: list[str], dayfirst: bool | None) -> list[Style]:
    """The ways in which these columns may make a date together."""
    ways: list[tuple[str, ...]] = []
    for name in columns:
        part, texts = part_of(name), _texts(frame[name])
        if part:
            ways.append(PARTS[part][1])
            continue
        known = [one for one in known_styles() if agrees(one[0], dayfirst)]
        rows, unique = pd.factorize(pd.Series(dtype=object) if texts is None else texts)
        alone = _fitting(rows, unique, known)
        ways.append(tuple(style.narrowed(parsed).pattern for style, parsed in alone) or CLOCKS)
    week = any("%-V" in way for way in ways)
    found = []
    for choice in product(*ways):
        pattern = _JOINT.join(choice)
        try:
            found.append(Style(pattern.replace("%Y", "%G") if week else pattern))
        except ValueError:  # two years, or none
            continue
    return found
