"""Files of delimited text, cell by cell: which separator, which lines, and every row as long as the first."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from anyformer.tasks.base import DataError
from anyformer.tasks.numbers import looks_like_number

LONGEST_LINE = 1_000_000
SEPARATORS = ",;\t|"
_SAMPLE = 200_000
_SAMPLE_ROWS = 100
_BLOCK = 65_536
_DATE = re.compile(r"[0-9]+[./-][0-9]+[./-][0-9]+([ T].*)?")


@dataclass
class Cells:
    """A file's cells.

    Attributes:
        columns: by name, the texts of all rows.
        separator: of the fields.
        remarks: what was left out.
    """

    columns: dict[str, pa.ChunkedArray]
    separator: str
    remarks: list[str] = field(default_factory=list)


def decode(path: Path, data: bytes) -> str:
    """The text in ``data``; ``DataError`` with the file and the place of the first byte that is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise DataError(
            f"{path}: byte {where} (0x{data[where]:02x}) is not UTF-8 text; save the file as UTF-8"
        ) from None


def check_lines(path: Path, data: bytes, remedy: str) -> None:
    """``DataError`` where a line is longer than a line of text or of a table can sensibly be."""
    start = number = 0
    while len(data) - start > LONGEST_LINE:
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        number += 1
        if end - start > LONGEST_LINE:
            raise DataError(f"{path}: line {number} is {end - start:,} bytes long, all in one line; {remedy}")
        start = end + 1


def read_cells(path: Path) -> Cells:
    """The cells of a table whose first line names its columns.

    Lines before it that begin with ``#``, a line ``sep=;`` as spreadsheets write it, blank lines, and the empty
    column that a separator at the end of each line makes are no part of the table.

    Raises:
        DataError: a row has more or fewer fields than there are names, or quotes do not match; with the line.
    """
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{path} is empty")
    check_lines(path, data, "a table needs one line a row")
    text, above, declared = _without_preamble(decode(path, data))
    if not text.strip():
        raise DataError(f"{path} has only comments and no rows")
    separator = declared or find_separator(text)
    remarks = []
    comments = above - (declared is not None)
    if comments:
        remarks.append(f"{comments} lines of comments above the names of the columns are left out")
    with _long_fields():
        names, columns = _all_rows(path, text, separator, above, remarks)
    _check_top(path, names, columns)
    return Cells(_named(path, names, columns, remarks), separator, remarks)


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(2 * LONGEST_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _without_preamble(text: str) -> tuple[str, int, str | None]:
    """The text from the line of names on, the lines above it, and the separator that ``sep=`` declares."""
    lines = 0
    declared = None
    while True:
        if match := re.match(r"\s*\"?sep=(.)\"?[ \t]*(\r\n|\n|\r)", text, re.I):
            declared, text = match[1], text[match.end() :]
        elif text.startswith("#") and not _names_in_comment(text):
            _, _, text = text.partition("\n")
        else:
            return text, lines, declared
        lines += 1


def _names_in_comment(text: str) -> bool:
    """Whether the line that begins with ``#`` names the columns: there are values below it, as many."""
    lines = [line for line in text[:_SAMPLE].splitlines()[:3] if line.strip()]
    if len(lines) < 2 or lines[1].startswith("#"):
        return False
    separator = max(SEPARATORS, key=lines[0].count)
    head, below = (next(csv.reader([line], delimiter=separator)) for line in lines[:2])
    return len(head) == len(below) > 1 and any(map(looks_like_value, below))


def find_separator(text: str) -> str:
    """The separator that gives all rows as many fields as there are names, quotes respected.

    Where several do, the one whose fields are more often values or free of other separators (``2024-01-01;1,5``, and
    ``8,5;b``), then the one with more fields.
    """
    scored = [(_score(text, separator), separator) for separator in SEPARATORS]
    best, separator = max(scored, key=lambda pair: pair[0])
    return separator


def _score(text: str, separator: str) -> tuple[float, ...]:
    whole = len(text) <= _SAMPLE
    rows: list[list[str]] = []
    broken = False
    try:
        for row in csv.reader(
            io.StringIO(text[:_SAMPLE], newline=""), delimiter=separator, skipinitialspace=True, strict=True
        ):
            if row and not (row[0].startswith("#") and len(row) == 1):
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                break
    except csv.Error:
        broken = whole
    if not rows:
        return (-1.0,)
    width = len(rows[0])
    body = rows[1:] if whole or len(rows) > _SAMPLE_ROWS else rows[1:-1]
    fits = [len(row) == width or (len(row) == width + 1 and not row[-1]) for row in body]
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


def _all_rows(
    path: Path, text: str, separator: str, above: int, remarks: list[str]
) -> tuple[list[str], list[pa.ChunkedArray]]:
    """The names, and the cells by column."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    names: list[str] = []
    chunks: list[list[pa.Array]] = []
    block: list[list[str]] = []
    comments = blank = between = 0
    line = above + 1
    try:
        for row in rows:
            line = rows.line_num + above + 1
            if not row or (len(row) == 1 and not row[0].strip()):
                between += 1
                continue
            if chunks or block:
                blank += between
            between = 0
            if not names:
                names = _checked_names(path, row, text)
                continue
            if len(row) != len(names):
                if row[0].startswith("#"):
                    comments += 1
                    continue
                if len(row) == len(names) + 1 and not row[-1]:
                    row = row[:-1]
                else:
                    raise DataError(_ragged(path, rows.line_num + above, row, names))
            block.append(row)
            if len(block) == _BLOCK:
                chunks.append(_by_column(block))
                block = []
    except csv.Error as error:
        raise DataError(
            f"{path}: the row that begins in line {line} cannot be read ({error}); a value that holds a double quote "
            "is written in quotes, with its own doubled"
        ) from None
    if block:
        chunks.append(_by_column(block))
    if not chunks:
        raise DataError(f"{path} has a line of column names and no rows")
    if blank and len(names) == 1:
        remarks.append(f"{blank} blank lines between the rows are left out; write NA for a missing value")
    if comments:
        remarks.append(f"{comments} lines of comments between the rows are left out")
    return names, [pa.chunked_array([chunk[i] for chunk in chunks]) for i in range(len(names))]


def _by_column(block: list[list[str]]) -> list[pa.Array]:
    return [pa.array(column, pa.large_string()) for column in zip(*block)]


def _checked_names(path: Path, row: list[str], text: str) -> list[str]:
    names = [name.strip() for name in row]
    if names[0].startswith("#") and len(names[0]) > 1:
        names[0] = names[0][1:].strip()
    if all(looks_like_value(name) for name in names):
        first = text.lstrip().splitlines()[0]
        raise DataError(f"{path}: the first line must name the columns, got {first[:60]!r}")
    return names


def _check_top(path: Path, names: list[str], columns: list[pa.ChunkedArray]) -> None:
    """``DataError`` where lines of a title stand above those that name the columns."""
    top = list(zip(*(column.slice(0, 20).to_pylist() for column in columns)))
    remedy = "delete the lines above the names of the columns"
    if len(names) == 1:
        lines = [cells[0] for cells in top]
        separator, width, share = max(
            (fields_of(lines[1:], mark) for mark in SEPARATORS), key=lambda one: one[2]
        )
        if width > 1 and share > 0.5 and not looks_like_value(lines[-1]):
            raise DataError(
                f"{path}: the first line names one column ({names[0][:40]!r}), but the lines below have {width} fields "
                f"parted by {separator!r}; {remedy}"
            )
    if all(names[1:]):
        return
    for row, (cells, after) in enumerate(pairwise(top)):
        named = all(map(str.strip, cells)) and not any(map(looks_like_value, cells))
        if named and any(map(looks_like_value, after)):
            raise DataError(
                f"{path}: the first line leaves columns without a name, and row {row + 1} seems to name them "
                f"({', '.join(map(repr, cells[:4]))}); {remedy}"
            )


def fields_of(lines: list[str], separator: str | None) -> tuple[str | None, int, float]:
    """The separator, None for blanks; how many fields it makes of every line, or 0; and the share that are values."""
    rows = [line.split(separator) for line in lines]
    if len({len(row) for row in rows}) != 1:
        return separator, 0, 0.0
    cells = [cell for row in rows for cell in row]
    return separator, len(rows[0]), sum(map(looks_like_value, cells)) / len(cells)


def _ragged(path: Path, line: int, row: list[str], names: list[str]) -> str:
    many = len(row) > len(names)
    shown = row[len(names)] if many else names[len(row)]
    what = f"the first one too many is {shown[:40]!r}" if many else f"none for column {shown!r}"
    return (
        f"{path}: line {line} has {len(row)} fields, but the first line names {len(names)} columns ({what}); "
        "write each row with as many, and values that hold the separator in double quotes"
        + (", or delete lines of a title above the names" if many and line <= 20 else "")
    )


def _named(
    path: Path, names: list[str], columns: list[pa.ChunkedArray], remarks: list[str]
) -> dict[str, pa.ChunkedArray]:
    """Columns by name; those without one are called as pandas calls them, and left out where they are empty."""
    found: dict[str, pa.ChunkedArray] = {}
    for number, (name, column) in enumerate(zip(names, columns)):
        if not name and not any(cell.strip() for cell in column.unique().to_pylist()):
            remarks.append(f"column {number + 1} has neither a name nor values and is left out")
            continue
        name = name or unnamed(number, names)
        if name in found:
            places = [i + 1 for i, other in enumerate(names) if other == name]
            raise DataError(
                f"{path}: columns {places[0]} and {places[1]} are both named {name!r}; rename one"
            )
        found[name] = column
    return found


def unnamed(place: int, names: Iterable[object]) -> str:
    """What the column at ``place`` is called for want of a name: as by pandas, and different from all others."""
    name = f"Unnamed: {place}"
    while name in names:
        name += ".1"
    return name


def looks_like_value(text: str) -> bool:
    """Whether a cell is a number or a date, and no name."""
    text = text.strip()
    return looks_like_number(text) or bool(_DATE.fullmatch(text)) or text.lower() in ("nan", "inf", "-inf")


def factorized(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """A column's different texts; the number of each row's; how often each occurs; and the row where it is first."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    texts, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    firsts = np.full(len(texts), len(codes), np.int64)
    np.minimum.at(firsts, codes, np.arange(len(codes)))
    return texts, codes, np.bincount(codes, minlength=len(texts)), firsts
