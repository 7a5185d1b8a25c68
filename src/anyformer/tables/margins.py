"""Rows of a file that are not data: units below the header, totals at the end."""

from __future__ import annotations

import re
from dataclasses import replace

import pyarrow as pa

from anyformer.tables.delimited import Cells
from anyformer.tables.numbercells import is_stand_in
from anyformer.tables.separators import looks_like_value

_LOOK = 50
_RULE = re.compile(r":?-{2,}:?")
_TOTAL = re.compile(r"(grand |sub ?)?totals?|(gesamt|end)?summe|gesamt|sum|overall|somme|totale", re.I)


def without_margins(cells: Cells) -> Cells:
    """Return the cells without a first row of units or second names and a last row of totals; remarks say so."""
    return _without_totals(_without_units(_without_rule(cells)))


def _row(cells: Cells, place: int) -> list[str]:
    return [column[place].as_py().strip() for column in cells.columns.values()]


def _without_rule(cells: Cells) -> Cells:
    """Return the cells without a first row of dashes, which tables in texts have below the header."""
    drawn = [text for text in _row(cells, 0) if text]
    if len(drawn) < 2 or len(next(iter(cells.columns.values()))) < 2 or not all(map(_RULE.fullmatch, drawn)):
        return cells
    return _kept(cells, slice(1, None), "row 1 is a line of dashes and is left out")


def _without_units(cells: Cells) -> Cells:
    """Return the cells without a first row of texts, in two or more columns whose other cells are all values."""
    columns = list(cells.columns.values())
    if len(columns[0]) < 3:
        return cells
    below = [column.slice(1, _LOOK).to_pylist() for column in columns]
    valued = [sum(map(looks_like_value, texts)) > 0.9 * len(texts) for texts in below]
    first = [text for text, here in zip(_row(cells, 0), valued) if here]
    words = [text for text in first if text and not is_stand_in(text)]
    if len(first) < 2 or not words or any(map(looks_like_value, first)):
        return cells
    shown = ", ".join(map(repr, words[:3]))
    return _kept(
        cells, slice(1, None), f"row 1 holds units or second names ({shown}), no values, and is left out"
    )


def _without_totals(cells: Cells) -> Cells:
    """Return the cells without a last row named a total, in a column where no other row is."""
    last = len(next(iter(cells.columns.values()))) - 1
    row = _row(cells, last)
    words = [place for place, text in enumerate(row) if _TOTAL.fullmatch(text.rstrip(": "))]
    if last < 3 or len(words) != 1 or not any(map(looks_like_value, row)):
        return cells
    others = list(cells.columns.values())[words[0]].slice(0, last).unique().to_pylist()
    if any(_TOTAL.fullmatch(text.strip().rstrip(": ")) for text in others):
        return cells
    return _kept(
        cells, slice(0, last), f"the last row, {row[words[0]]!r}, sums up the others and is left out"
    )


def _kept(cells: Cells, rows: slice, remark: str) -> Cells:
    columns: dict[str, pa.ChunkedArray] = {name: column[rows] for name, column in cells.columns.items()}
    return replace(cells, columns=columns, remarks=[*cells.remarks, remark])
