"""The separator of delimited text: the one that gives every row as many fields as there are names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from anyformer.tables.numbercells import looks_like_number

SEPARATORS = ",;\t|"
SAMPLE = 200_000
SAMPLE_ROWS = 100
_DATE = re.compile(r"[0-9]+[./-][0-9]+[./-][0-9]+([ T].*)?")
_MOMENT = re.compile(r"[0-9]+[./-][0-9]+[./-][0-9]+ [0-9]+:[0-9]+[^ ]*( ?[AaPp]\.?[Mm]\.?)?")


def rows_of(text: str, separator: str) -> Any:
    """Return a ``csv.reader``, whose class has no public name."""
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)


def find_separator(text: str) -> str:
    """Return the separator that gives all rows as many fields as the header, quotes respected.

    If several do, prefer the one whose fields are more often values or free of other separators (``2024-01-01;1,5``
    and ``8,5;b``), then the one with more fields.
    """
    scored = [(_score(text, separator), separator) for separator in SEPARATORS]
    best, separator = max(scored, key=lambda pair: pair[0])
    return " " if best[0] <= 0 and _parted_by_blanks(text) else separator


def _parted_by_blanks(text: str) -> bool:
    """True if blanks separate several fields, as many in each row, most of them values or quoted texts.

    Rows may have one field more than the header, their name, as R writes it. A line that is a value as a whole
    (``1 234``, or a day with its hour) has one field.
    """
    lines = [line for line in text[:SAMPLE].splitlines() if line.strip()][:SAMPLE_ROWS]
    lines = lines if len(text) <= SAMPLE or len(lines) == SAMPLE_ROWS else lines[:-1]
    if any(looks_like_number(line.strip()) or _MOMENT.fullmatch(line.strip()) for line in lines[1:]):
        return False
    try:
        head, *rows = ([cell for cell in row if cell] for row in rows_of("\n".join(lines), " "))
    except csv.Error:
        return False
    widths = {len(row) for row in rows}
    if len(widths) != 1 or (width := widths.pop()) not in (len(head), len(head) + 1) or width < 2:
        return False
    cells = [cell for row in rows for cell in row]
    quoted = lines[0].startswith('"') and all('"' in line for line in lines)
    if width > len(head) and not quoted and not name_rows([row[0] for row in rows]):
        return False
    return quoted or sum(map(looks_like_value, cells)) >= 0.5 * len(cells)


def name_rows(cells: Sequence[str]) -> bool:
    """True if these may be row names: all distinct, and whole numbers or texts, not dates or measurements."""
    cells = [cell.strip() for cell in cells]
    counts = all(cell.isdigit() for cell in cells)
    return len(set(cells)) == len(cells) and (counts or not any(map(looks_like_value, cells)))


def _score(text: str, separator: str) -> tuple[float, ...]:
    whole = len(text) <= SAMPLE
    rows: list[list[str]] = []
    broken = False
    try:
        for row in rows_of(text[:SAMPLE], separator):
            if row and not (row[0].startswith("#") and len(row) == 1):
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        broken = whole
    if not rows:
        return (-1.0,)
    width = len(rows[0])
    body = rows[1:] if whole or len(rows) > SAMPLE_ROWS else rows[1:-1]
    body = [row for row in body if row != rows[0] or width == 1]  # the names of columns may come again
    fits = [len(row) == width or (len(row) == width + 1 and not row[-1]) for row in body]
    if (width > 1 or '"' in text) and not all(fits) and names_its_rows(text[:SAMPLE], separator, width):
        fits, width = [len(row) == width + 1 for row in body], width + 1
    share = sum(fits) / len(fits) if fits else 1.0
    cells = [cell.strip() for row, fit in zip(body, fits) if fit for cell in row if cell.strip()]
    values = [looks_like_value(cell) for cell in cells]
    others = set(SEPARATORS) - {separator}
    clean = sum(value or not others & set(cell) for value, cell in zip(values, cells)) / max(len(cells), 1)
    valued = sum(values) / max(len(cells), 1)
    if width == 1:
        tier = 0 if share == 1 and not broken else -1
    elif broken:
        tier = 1
    else:
        occurs = any(len(row) > 1 for row in body) or not body
        tier = 3 if share == 1 else 2 if share > 0 else 1 if occurs else -1
    return (tier, share, clean, valued, width, -SEPARATORS.index(separator))


def names_its_rows(text: str, separator: str, width: int) -> bool:
    """True if the first rows have one field more than the header, and begin with what may be row names."""
    with suppress(csv.Error):
        rows = (row for row in rows_of(text, separator) if any(map(str.strip, row)))
        head = next(rows, list[str]())
        body = [
            row
            for row in islice(rows, SAMPLE_ROWS)
            if row != head and not (row[0].startswith("#") and len(row) != width)
        ]
        longer = [row for row in body if len(row) == width + 1]
        return (
            len(longer) == len(body) > 1
            and any(row[-1] for row in longer)
            and name_rows([row[0] for row in longer])
        )
    return False


def fields_of(lines: list[str], separator: str | None) -> tuple[str | None, int, float]:
    """Return the separator (None for blanks), the number of fields in every line, or 0, and the share of values."""
    rows = [line.split(separator) for line in lines]
    if len({len(row) for row in rows}) != 1:
        return separator, 0, 0.0
    cells = [cell for row in rows for cell in row]
    return separator, len(rows[0]), sum(map(looks_like_value, cells)) / len(cells)


def looks_like_value(text: str) -> bool:
    """True if a cell is a number or a date rather than a name."""
    text = text.strip()
    return looks_like_number(text) or bool(_DATE.fullmatch(text)) or text.lower() in ("nan", "inf", "-inf")
