"""Numbers as people write them: decimal commas, thousands, currencies, percent.

How a column writes its numbers is decided by all of its values at once, in this order:

1. ``decimal`` and ``thousands``, where they are given;
2. its own values: 1.332.500 or 0,5 can be read in one way only, and whole numbers written 25000 beside 1,332 say that
   the comma parts no thousands;
3. the file's other columns, where they all agree;
4. the data that a model was trained on, for predictions;
5. the file's separator: in files separated by semicolons the comma is the decimal mark, in all others the point.

Whatever is read otherwise than as plain 1234.5 is said in a remark with an example.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyformer.spelling import option

LARGEST = 1e100
"""Numbers beyond it are as good as infinite: their squares, which deviations are made of, are."""
MOST_ODD = 0.1
"""The share of a column that may be texts that are no numbers."""
MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "NaT", "None", "n/a", "nan", "null",
))  # fmt: skip
"""What pandas and R write for a missing value; in columns of numbers it is none in whatever case."""
_NONE = frozenset(("na", "nan", "null", "none"))
_STAND_INS = frozenset((
    "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}", "?", ".", "..", "...", "*", "n.a.", "missing",
    "#div/0!", "#value!", "#ref!", "#num!",
))  # fmt: skip
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|\N{INFINITY}|1\.#inf)", re.I)
_CODES = (
    "AED|ARS|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HRK|HUF|IDR|ILS|INR|ISK|JPY|KES|KRW|KWD|LKR|MAD|"
    "MXN|MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|QAR|RON|RSD|RUB|SAR|SEK|SGD|THB|TND|TRY|TWD|UAH|USD|UYU|VND|ZAR"
)
_CURRENCY = rf"(?:[A-Z]{{0,3}}[$\u00a2-\u00a5\u20a0-\u20c0]|{_CODES}|kr\.?|z\u0142|K\u010d|Ft|Fr\.|Rs\.?)"
_SIGN = r"[+\-\N{MINUS SIGN}\N{EN DASH}]"
_MINUS = r"[\-\N{MINUS SIGN}]"
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>{_SIGN})?\s?(?P<before>{_CURRENCY})?\s?(?P<inner>{_SIGN})?"
    r"(?P<body>[0-9.,'\N{RIGHT SINGLE QUOTATION MARK} \u00a0\u202f\u2009]*?[0-9][.,]?)"
    rf"(?P<power>[eE][+\-\N{{MINUS SIGN}}]?[0-9]+)?(?P<behind>{_MINUS})?\s?(?P<after>%|{_CURRENCY})?(?P<close>\))?"
)
_PLAIN = r"^(-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?$"
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\N{RIGHT SINGLE QUOTATION MARK}": "'"})
_NAMES = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}


def looks_like_number(text: str) -> bool:
    """Whether a text is a number in some style."""
    return _CELL.fullmatch(text) is not None


def is_stand_in(text: str) -> bool:
    """Whether a text stands for a missing value in a column of numbers."""
    return text in MISSING or text.lower() in _NONE or text.lower() in _STAND_INS


@dataclass(frozen=True)
class Convention:
    """How a file writes its values.

    Attributes:
        decimal: "." or "," in all columns; None lets each column show it.
        thousands: ",", ".", " ", "'", or "" for none; None as above.
        missing: the texts that stand for a missing value, besides the empty one; None for :data:`MISSING`. In columns
            of numbers those and dashes, question marks and the like are missing values anyway.
        likely: the decimal mark where nothing in the file tells.
    """

    decimal: str | None = None
    thousands: str | None = None
    missing: frozenset[str] | None = None
    likely: str | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"{option('decimal')} must be '.' or ',', got {self.decimal!r}")
        if self.thousands not in (None, "", ",", ".", " ", "'"):
            raise ValueError(
                f"{option('thousands')} must be ',', '.', ' ' (any blank), \"'\" or '' for none, got {self.thousands!r}"
            )
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(
                f"{option('decimal')} and {option('thousands')} must differ, got {self.decimal!r} for both"
            )

    def is_missing(self, text: str) -> bool:
        """Whether a cell stands for a missing value, whatever its column."""
        return not text or text in (MISSING if self.missing is None else self.missing)


@dataclass
class Reading:
    """A column's numbers.

    Attributes:
        values: float64, one of each text asked about, NaN where it is missing; None where the column holds no numbers.
        remarks: what was decided and what was left out, for whoever uses the column.
        refusal: why it holds none, where it seemed to.
        decimal: the decimal mark that its values show, or that was chosen where they may be read in two ways.
    """

    values: np.ndarray | None
    remarks: list[str] = field(default_factory=list)
    refusal: str | None = None
    decimal: str | None = None


@dataclass
class _Column:
    """A column's different texts, taken apart."""

    name: str
    texts: Sequence[str]
    counts: np.ndarray
    firsts: np.ndarray
    convention: Convention
    numbers: dict[int, re.Match[str]] = field(default_factory=dict)
    infinite: list[int] = field(default_factory=list)
    stand_ins: list[int] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    bodies: dict[int, str] = field(default_factory=dict)
    fits: dict[str, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, text in enumerate(self.texts):
            text = text.strip()
            if self.convention.is_missing(text) or text in MISSING or text.lower() in _NONE:
                self.gone.append(place)
            elif match := _CELL.fullmatch(text):
                self.numbers[place] = match
                self.bodies[place] = match["body"].translate(_BLANKS)
            elif _INFINITE.fullmatch(text):
                self.infinite.append(place)
            elif text.lower() in _STAND_INS:
                self.stand_ins.append(place)
            else:
                self.odd.append(place)
        for decimal in (".", ","):
            if self.convention.decimal in (None, decimal):
                style = _style(decimal, self.convention.thousands)
                self.fits[decimal] = {place for place, body in self.bodies.items() if style.fullmatch(body)}

    def count(self, places: Iterable[int]) -> int:
        return int(self.counts[list(places)].sum())

    def first(self, places: Iterable[int]) -> str:
        """The first of these cells, and its row."""
        place = min(places, key=lambda place: int(self.firsts[place]))
        return f"{_short(self.texts[place])!r} in row {int(self.firsts[place]) + 1}"

    def read(self, place: int, decimal: str) -> float:
        """The number at a place that fits this decimal mark."""
        match, digits = self.numbers[place], self._digits(place, decimal)
        power = (match["power"] or "").replace("\N{MINUS SIGN}", "-")
        return (-1 if self._negative(place) else 1) * float(digits + power)

    def integer(self, place: int, decimal: str) -> int | None:
        """The same where it is whole and written without a power of ten."""
        digits = self._digits(place, decimal)
        if self.numbers[place]["power"] or not digits.isdigit():
            return None
        return (-1 if self._negative(place) else 1) * int(digits)

    def _negative(self, place: int) -> bool:
        match = self.numbers[place]
        sign = match["sign"] or match["inner"] or match["behind"] or ""
        return bool(match["open"]) or sign not in ("", "+")

    def _digits(self, place: int, decimal: str) -> str:
        body = self.bodies[place]
        kept = body.translate({ord(c): None for c in ",.' " if c != decimal})
        return kept.replace(decimal, ".")


def _style(decimal: str, thousands: str | None) -> re.Pattern[str]:
    """Numbers with this decimal mark; thousands parted by that, or by any other mark where it is None."""
    marks = [mark for mark in ",.' " if mark != decimal] if thousands is None else [*thousands]
    whole = ["[0-9]+"]
    for mark in map(re.escape, marks):
        whole.append(f"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+")
        if mark == ",":
            whole.append("[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")  # 12,34,567 as in India
    point = re.escape(decimal)
    return re.compile(rf"(?:{'|'.join(whole)})(?:{point}[0-9]*)?|{point}[0-9]+")


def read_plain(texts: pa.ChunkedArray, convention: Convention) -> Reading | None:
    """The numbers of a column of plain ones and empty cells, by all rows; None where it needs a closer look.

    That is due to anything that is said of the convention, to points that may part thousands, and to numbers that are
    infinite or lose digits.
    """
    if convention.decimal == "," or convention.missing is not None or convention.thousands is not None:
        return None
    if not pc.all(pc.match_substring_regex(texts, _PLAIN)).as_py():
        return None
    values = pc.cast(pc.if_else(pc.equal(texts, ""), None, texts), pa.float64()).to_numpy()
    known = values[~np.isnan(values)]
    if not len(known) or np.abs(known).max() >= 2**53:
        return None
    points = pc.match_substring(texts, ".")
    if not pc.any(points).as_py():
        return Reading(values)
    sure = pc.and_(points, pc.invert(pc.match_substring_regex(texts, r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$")))
    return Reading(values, decimal=".") if pc.any(sure).as_py() else None


def read_numbers(
    columns: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]],
    convention: Convention,
    separator: str,
    others: Iterable[str] = (),
) -> dict[str, Reading]:
    """The numbers of a file's columns.

    Args:
        columns: for each, its different texts, how often each occurs, and the row where each is first.
        convention: what was said about the file.
        separator: of the file's fields, empty where it has none.
        others: decimal marks of columns that are read already.

    Returns:
        A reading for each column, its values one for each different text.
    """
    apart = {name: _Column(name, *texts, convention) for name, texts in columns.items()}
    readings = {name: _judged(column) for name, column in apart.items()}
    shown = {reading.decimal for reading in readings.values() if reading and reading.decimal} | {*others}
    agreed = shown.pop() if len(shown) == 1 else None
    usual = "," if separator == ";" else "."
    found = {}
    for name, column in apart.items():
        reading = readings[name]
        if reading is None:  # it may be read in two ways
            decimal = agreed or convention.likely or usual
            why = (
                "as other columns show"
                if agreed
                else "as the model was trained on"
                if convention.likely
                else ""
            )
            why = why or "as is usual" + (f" in files separated by {separator!r}" if separator else "")
            reading = _read(column, decimal, decimal)
            reading.remarks.append(_two_ways(column, decimal, why))
        found[name] = reading
    return found


def _judged(column: _Column) -> Reading | None:
    """A column's reading, or None where the point and the comma are both possible and differ."""
    present = column.count(column.numbers) + column.count(column.odd) + column.count(column.infinite)
    if unread := _too_odd(column, present):
        return unread
    if refusal := _mixed(column):
        return Reading(None, refusal=refusal)
    if unread := _too_odd(column, present):
        return unread
    best = max(column.fits, key=lambda decimal: column.count(column.fits[decimal]))
    unfit = column.numbers.keys() - column.fits[best]
    if unfit:
        if column.count(unfit) + column.count(column.odd) > MOST_ODD * present or any(
            place in fits for fits in column.fits.values() for place in unfit
        ):
            return Reading(None, refusal=_contradiction(column, best, unfit))
        column.odd.extend(unfit)
        for place in unfit:
            del column.numbers[place]
    possible = [decimal for decimal in column.fits if column.numbers.keys() <= column.fits[decimal]]
    marked = [place for place in column.numbers if set(column.bodies[place]) & {".", ","}]
    if len(possible) == 1 or not marked:
        shows = possible[0] if len(possible) == 1 and marked and len(column.fits) > 1 else None
        return _read(column, possible[0], shows)
    if not any(column.read(place, ".") != column.read(place, ",") for place in marked):
        return _read(column, ".")
    mark = "." if "." in column.bodies[marked[0]] else ","
    long = _too_long_to_go_without(column, marked)
    if not long:
        return None
    reading = _read(column, mark, mark)
    reading.remarks.append(_two_ways(column, mark, f"as {long} is written without a mark"))
    return reading


def _too_odd(column: _Column, present: int) -> Reading | None:
    """A reading without numbers where too many of the values ``present`` are none; None where enough are."""
    odd = column.count(column.odd)
    if column.numbers and odd <= MOST_ODD * present:
        return None
    if odd > 0.5 * present or not column.numbers:
        return Reading(None)
    why = f"has {odd} values of {present} that are not numbers (first: {column.first(column.odd)})"
    texts = {column.texts[place].strip() for place in column.odd}
    if len(texts) == 1:
        why += f"; {option('missing', texts.pop())} counts them as missing"
    return Reading(None, refusal=why)


def _too_long_to_go_without(column: _Column, marked: list[int]) -> str | None:
    """A whole number that would have the mark, if it parted thousands; None where there is none."""
    shortest = min(sum(c.isdigit() for c in column.bodies[place]) for place in marked)
    plain = [
        place
        for place in column.numbers
        if column.bodies[place].isdigit() and abs(column.read(place, ".")) <= LARGEST
    ]
    long = [place for place in plain if len(column.bodies[place]) >= max(4, shortest)]
    return column.texts[min(long, key=lambda place: int(column.firsts[place]))].strip() if long else None


def _mixed(column: _Column) -> str | None:
    """Why cells that read as numbers are not of one measure."""
    marks: dict[str, list[int]] = {}
    for place, match in column.numbers.items():
        twice = (match["before"] and match["after"]) or (
            match["behind"] and (match["sign"] or match["inner"])
        )
        if twice or bool(match["open"]) != bool(match["close"]):
            column.odd.append(place)
            continue
        marks.setdefault(match["before"] or match["after"] or "", []).append(place)
    column.odd.extend(_no_signs_behind(column))
    for place in column.odd:
        column.numbers.pop(place, None)
    plain = marks.pop("", [])
    if "%" in marks and (len(marks) > 1 or any(column.bodies[place].strip("0.,") for place in plain)):
        others = plain + [place for mark, places in marks.items() if mark != "%" for place in places]
        return f"has values with and without % ({column.first(marks['%'])}, {column.first(others)})"
    if len(marks) > 1:
        return f"holds several currencies ({', '.join(sorted(marks))})"
    return None


def _no_signs_behind(column: _Column) -> list[int]:
    """Places at which a minus behind the digits is none of accounting (``1.234,50-``), but of a range or a grade."""
    behind = [place for place, match in column.numbers.items() if match["behind"]]
    signs = any(match["sign"] not in (None, "+") for match in column.numbers.values())
    sums = any(set(column.bodies[place]) & {".", ","} for place in behind)
    few = 2 * column.count(behind) <= column.count(column.numbers)
    return [] if few and sums and not signs else behind


def _contradiction(column: _Column, best: str, unfit: Iterable[int]) -> str:
    other = "," if best == "." else "."
    if other in column.fits and set(unfit) & column.fits[other]:
        one = column.first(column.fits[best] - column.fits[other])
        return (
            f"has decimal points and decimal commas ({one}, {column.first(set(unfit) & column.fits[other])})"
        )
    mark = column.convention.decimal or best
    return f"does not hold numbers with {option('decimal', mark)} ({column.first(unfit)})"


def _read(column: _Column, decimal: str, shows: str | None = None) -> Reading:
    """The column's numbers with this decimal mark, and remarks on all that is not plain."""
    values = np.full(len(column.texts), np.nan)
    lost, beyond = [], list(column.infinite)
    for place in column.numbers:
        value = column.read(place, decimal)
        if abs(value) > LARGEST:
            beyond.append(place)
            continue
        if abs(value) >= 2**53 and column.integer(place, decimal) not in (None, int(value)):
            lost.append(place)
        values[place] = value
    remarks = [*_of_marks(column, decimal), *_of_signs(column, decimal)]
    name = repr(column.name)
    if beyond:
        remarks.append(
            f"{column.count(beyond)} values of {name} are infinite or beyond {LARGEST:.0e} (first: "
            f"{column.first(beyond)}) and count as missing"
        )
    if column.odd:
        remarks.append(
            f"{column.count(column.odd)} values of {name} are not numbers (first: {column.first(column.odd)}) "
            "and count as missing"
        )
    for place in column.stand_ins:
        remarks.append(
            f"{column.texts[place]!r} in {name} counts as missing ({column.count([place])} values)"
        )
    if lost:
        remarks.append(
            f"{column.count(lost)} values of {name} have more digits than a number holds and lose the last ones "
            f"(first: {column.first(lost)})"
        )
    return Reading(values, remarks, decimal=shows)


def _of_marks(column: _Column, decimal: str) -> list[str]:
    """What marks between digits were taken for."""
    remarks = []
    for mark in ",.' ":
        places = [place for place in column.numbers if mark in column.bodies[place]]
        if not places or mark == decimal == ".":
            continue
        does = "are read as decimal points" if mark == decimal else "part thousands"
        remarks.append(f"{_NAMES[mark]} in {column.name!r} {does}{_example(column, places, decimal)}")
    return remarks


def _of_signs(column: _Column, decimal: str) -> list[str]:
    """What was taken off: currencies, percent, parentheses, signs behind numbers."""
    marks: dict[str, list[int]] = {}
    for place, match in column.numbers.items():
        mark = match["before"] or match["after"]
        if mark:
            marks.setdefault(mark, []).append(place)
    remarks = [
        f"{mark} in {column.name!r} is left off{_example(column, marks[mark], decimal)}"
        for mark in sorted(marks)
    ]
    inside = [place for place, match in column.numbers.items() if match["open"]]
    if inside:
        remarks.append(f"parentheses in {column.name!r} are minus signs{_example(column, inside, decimal)}")
    behind = [place for place, match in column.numbers.items() if match["behind"]]
    if behind:
        remarks.append(
            f"signs behind numbers in {column.name!r} are minus signs{_example(column, behind, decimal)}"
        )
    return remarks


def _example(column: _Column, places: list[int], decimal: str) -> str:
    place = min(places, key=lambda place: int(column.firsts[place]))
    return f": {column.texts[place].strip()} is {column.read(place, decimal):.15g}"


def _two_ways(column: _Column, decimal: str, why: str) -> str:
    """That a column may mean something else, and how to say so."""
    other = "," if decimal == "." else "."
    places = [place for place in column.numbers if column.read(place, decimal) != column.read(place, other)]
    place = min(places, key=lambda place: int(column.firsts[place]))
    return (
        f"{column.name!r} may be read in two ways: {column.texts[place].strip()} is taken for "
        f"{column.read(place, decimal):.15g}, {why}; give {option('decimal', other)} where it is "
        f"{column.read(place, other):.15g}"
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:30]}...{text[-20:]}"
