"""Numbers as people write them: decimal commas, thousands separators, currencies, percent.

A column's notation is decided from all of its values at once, by the first of these that decides:

1. ``decimal`` and ``thousands``, if given;
2. its own values: 1.332.500 or 0,5 can be read in one way only, and whole numbers written 25000 beside 1,332 show
   that the comma is no thousands separator;
3. the file's other columns, if they all agree;
4. the data that a model was trained on, for predictions;
5. the file's separator: in files separated by semicolons the comma is the decimal mark, in all others the point.

Any notation but plain 1234.5 is named in a remark with an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anyformer.spelling import option
from anyformer.tables.numbercells import LARGEST, Convention, NumberColumn

MOST_ODD = 0.1
"""The largest share of texts that are not numbers in a column of numbers."""
_PLAIN = r"^(-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?$"
_NAMES = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}


@dataclass
class NumberReading:
    """A column's numbers.

    Attributes:
        values: float64, one for each distinct text, NaN where it is missing; None if the column holds no numbers.
        remarks: decisions made and values left out.
        refusal: why it holds none, if it seemed to.
        decimal: the decimal mark shown by its values, or chosen if they may be read in two ways.
    """

    values: np.ndarray | None
    remarks: list[str] = field(default_factory=list)
    refusal: str | None = None
    decimal: str | None = None


def read_plain(texts: pa.ChunkedArray, convention: Convention) -> NumberReading | None:
    """Return the numbers of all rows, if the column has only plain numbers and empty cells; else None.

    None too if the user gave a convention, if points may separate thousands, or if numbers are infinite or lose digits.
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
        return NumberReading(values)
    sure = pc.and_(points, pc.invert(pc.match_substring_regex(texts, r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$")))
    return NumberReading(values, decimal=".") if pc.any(sure).as_py() else None


def read_numbers(
    columns: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]],
    convention: Convention,
    separator: str,
    others: Iterable[str] = (),
) -> dict[str, NumberReading]:
    """Return the numbers of a file's columns.

    Args:
        columns: for each, its distinct texts, how often each occurs, and the row where each is first.
        convention: the user's options for the file.
        separator: of the file's fields, empty if it has none.
        others: decimal marks of columns that were read before.

    Returns:
        A reading for each column, with one value for each distinct text.
    """
    apart = {name: NumberColumn(name, *texts, convention) for name, texts in columns.items()}
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


def _judged(column: NumberColumn) -> NumberReading | None:
    """Return a column's reading, or None if point and comma are both possible and give different numbers."""
    present = column.count(column.numbers) + column.count(column.odd) + column.count(column.infinite)
    if unread := _too_odd(column, present):
        return unread
    if refusal := _mixed(column):
        return NumberReading(None, refusal=refusal)
    if unread := _too_odd(column, present):
        return unread
    best = max(column.fits, key=lambda decimal: column.count(column.fits[decimal]))
    unfit = column.numbers.keys() - column.fits[best]
    if unfit:
        if column.count(unfit) + column.count(column.odd) > MOST_ODD * present or any(
            place in fits for fits in column.fits.values() for place in unfit
        ):
            return NumberReading(None, refusal=_contradiction(column, best, unfit))
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


def _too_odd(column: NumberColumn, present: int) -> NumberReading | None:
    """Return a reading without numbers if too few of the ``present`` values are numbers; else None."""
    odd = column.count(column.odd)
    if column.numbers and odd <= MOST_ODD * present:
        return None
    if odd > 0.5 * present or not column.numbers:
        return NumberReading(None)
    why = f"has {odd} values of {present} that are not numbers (first: {column.first(column.odd)})"
    texts = {column.texts[place].strip() for place in column.odd}
    if len(texts) == 1:
        why += f"; {option('missing', texts.pop())} counts them as missing"
    return NumberReading(None, refusal=why)


def _too_long_to_go_without(column: NumberColumn, marked: list[int]) -> str | None:
    """Return a whole number that would show the mark, were it the thousands separator; None if there is none."""
    shortest = min(sum(c.isdigit() for c in column.bodies[place]) for place in marked)
    plain = [
        place
        for place in column.numbers
        if column.bodies[place].isdigit() and abs(column.read(place, ".")) <= LARGEST
    ]
    long = [place for place in plain if len(column.bodies[place]) >= max(4, shortest)]
    return column.texts[min(long, key=lambda place: int(column.firsts[place]))].strip() if long else None


def _mixed(column: NumberColumn) -> str | None:
    """Return why numbers are not of one unit (percent, currencies); None if they are."""
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


def _no_signs_behind(column: NumberColumn) -> list[int]:
    """Return indices of texts with a minus behind the digits that is not accounting's (``1.234,50-``)."""
    behind = [place for place, match in column.numbers.items() if match["behind"]]
    signs = any(match["sign"] not in (None, "+") for match in column.numbers.values())
    sums = any(set(column.bodies[place]) & {".", ","} for place in behind)
    few = 2 * column.count(behind) <= column.count(column.numbers)
    return [] if few and sums and not signs else behind


def _contradiction(column: NumberColumn, best: str, unfit: Iterable[int]) -> str:
    other = "," if best == "." else "."
    if other in column.fits and set(unfit) & column.fits[other]:
        one = column.first(column.fits[best] - column.fits[other])
        return (
            f"has decimal points and decimal commas ({one}, {column.first(set(unfit) & column.fits[other])})"
        )
    mark = column.convention.decimal or best
    return f"does not hold numbers with {option('decimal', mark)} ({column.first(unfit)})"


def _read(column: NumberColumn, decimal: str, shows: str | None = None) -> NumberReading:
    """Return the column's numbers with this decimal mark, and remarks on all other notation."""
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
    return NumberReading(values, remarks, decimal=shows)


def _of_marks(column: NumberColumn, decimal: str) -> list[str]:
    """Return remarks on the meaning of marks between digits."""
    remarks = []
    for mark in ",.' ":
        places = [place for place in column.numbers if mark in column.bodies[place]]
        if not places or mark == decimal == ".":
            continue
        does = "are read as decimal points" if mark == decimal else "part thousands"
        remarks.append(f"{_NAMES[mark]} in {column.name!r} {does}{_example(column, places, decimal)}")
    return remarks


def _of_signs(column: NumberColumn, decimal: str) -> list[str]:
    """Return remarks on what was stripped: currencies, percent, parentheses, signs behind numbers."""
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


def _example(column: NumberColumn, places: list[int], decimal: str) -> str:
    place = min(places, key=lambda place: int(column.firsts[place]))
    return f": {column.texts[place].strip()} is {column.read(place, decimal):.15g}"


def _two_ways(column: NumberColumn, decimal: str, why: str) -> str:
    """Return a remark that a column may be read in two ways, with the option that chooses the other."""
    other = "," if decimal == "." else "."
    places = [place for place in column.numbers if column.read(place, decimal) != column.read(place, other)]
    place = min(places, key=lambda place: int(column.firsts[place]))
    return (
        f"{column.name!r} may be read in two ways: {column.texts[place].strip()} is taken for "
        f"{column.read(place, decimal):.15g}, {why}; give {option('decimal', other)} where it is "
        f"{column.read(place, other):.15g}"
    )
