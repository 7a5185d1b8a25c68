"""Files of delimited text as cells, every row as long as the first."""

from __future__ import annotations

import csv
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pyarrow as pa

from anyformer.errors import DataError
from anyformer.tables.formats import binary_kind, text_format
from anyformer.tables.literal_quotes import with_literal_quotes
from anyformer.tables.packed import content
from anyformer.tables.separators import (
    SAMPLE,
    SAMPLE_ROWS,
    SEPARATORS,
    fields_of,
    find_separator,
    looks_like_value,
    name_rows,
    names_its_rows,
    rows_of,
)

LONGEST_LINE = 1_000_000
_BLOCK = 65_536
_IN_QUOTES = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class DelimitedStyle:
    """The format of a file of delimited text.

    Attributes:
        separator: of the fields.
        encoding: Python's name of it; with a byte order mark if the file begins with one.
        quotes: the fields in quotes: those that need them, texts (names of columns included), or all.
        end: of a line.
        decimal: the decimal mark of its numbers.
    """

    separator: str = ","
    encoding: str = "utf-8"
    quotes: Literal["needed", "texts", "all"] = "needed"
    end: str = "\n"
    decimal: str = "."


@dataclass
class Cells:
    """A file's cells.

    Attributes:
        columns: by name, the texts of all rows.
        style: its format, but for the decimal mark, which is found in reading the numbers.
        remarks: lines and columns that were left out.
    """

    columns: dict[str, pa.ChunkedArray]
    style: DelimitedStyle
    remarks: list[str] = field(default_factory=list)


def decode(path: Path, data: bytes) -> str:
    """Return the text in ``data``; ``DataError`` names the first byte that is not UTF-8 text."""
    if kind := binary_kind(data):
        raise DataError(f"{path} is {kind} by its first bytes, and not the text that its name promises")
    where, what = data.find(b"\0"), "is no character of a text"
    if where < 0:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            where = error.start + (3 if data.startswith(BOM_UTF8) else 0)
            what = "is not UTF-8 text"
    raise DataError(f"{path}: byte {where} (0x{data[where]:02x}) {what}; save the file as UTF-8")


def check_lines(path: Path, data: bytes, remedy: str) -> None:
    """Raise ``DataError`` if a line is longer than ``LONGEST_LINE`` bytes; ``remedy`` ends the message."""
    start = number = 0
    while len(data) - start > LONGEST_LINE:
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        number += 1
        if end - start > LONGEST_LINE:
            raise DataError(f"{path}: line {number} is {end - start:,} bytes long, all in one line; {remedy}")
        start = end + 1


def read_cells(path: Path) -> Cells:
    """Read the cells of a table whose first line names its columns.

    Lines before it that begin with ``#``, a line ``sep=;`` as spreadsheets write it, blank lines, and the empty
    column made by a separator at the end of each line are no part of the table; neither are row names, which R's
    ``write.table`` writes without a column name.

    Raises:
        DataError: a row has more or fewer fields than there are names, or quotes do not match; with the line.
    """
    data = content(path)
    if not data.strip():
        raise DataError(f"{path} is empty")
    full, encoding = _decoded(path, data)
    check_lines(path, full.encode(), "a table needs one line a row")
    if known := text_format(path, full):
        raise DataError(f"{path} holds {known[0]}, which is not read: {known[1]}")
    text, above, declared = _without_preamble(full)
    if not text.strip():
        raise DataError(f"{path} has only comments and no rows")
    remarks = []
    comments = above - (declared is not None)
    if comments:
        remarks.append(f"{comments} lines of comments above the names of the columns are left out")
    text = with_literal_quotes(text, remarks)
    with _long_fields():
        try:
            separator, names, columns = _read(path, text, declared, above, remarks)
        except _Broken as error:
            if '\\"' not in text:
                raise
            text, kept = text.replace('\\"', '""'), remarks[:]
            try:
                separator, names, columns = _read(path, text, declared, above, kept)
            except DataError:
                raise error from None
            remarks[:] = [*kept, 'double quotes within values are written \\", and read as such']
        style = DelimitedStyle(
            separator, encoding, _quotes(text, separator), "\r\n" if "\r\n" in text else "\n"
        )
    _check_top(path, names, columns)
    return Cells(_named(path, names, columns, remarks), style, remarks)


def _decoded(path: Path, data: bytes) -> tuple[str, str]:
    """Return a table's text and its encoding: UTF-8, or UTF-16 with a byte order mark, as spreadsheets write it."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        with suppress(UnicodeDecodeError):
            if "\0" not in (text := data.decode("utf-16")):
                return text, "utf-16"
        raise DataError(f"{path} begins as UTF-16 text does, and is none; save the file as UTF-8")
    return decode(path, data), "utf-8-sig" if data.startswith(BOM_UTF8) else "utf-8"


def _read(
    path: Path, text: str, declared: str | None, above: int, remarks: list[str]
) -> tuple[str, list[str], list[pa.ChunkedArray]]:
    """Return the separator, the names and the cells by column."""
    separator = declared or find_separator(text)
    if separator == " " and '"' not in text:
        text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    names, columns = _all_rows(path, text, separator, above, remarks)
    return separator, names, columns


class _Broken(DataError):
    """Quotes that do not match."""


def _quotes(text: str, separator: str) -> Literal["needed", "texts", "all"]:
    """Return which fields of a file are in quotes, judged by its first two rows."""
    taken: list[str] = []
    lines = (taken.append(line) or line for line in text[:SAMPLE].lstrip().splitlines(keepends=True))  # type: ignore[func-returns-value]
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    pairs, widths = [], []
    for _ in range(2):  # a row may take several lines
        widths.append(len(next(rows, [])))
        pairs.append(len(_IN_QUOTES.findall("".join(taken))))
        taken.clear()
    if pairs[0] < max(widths[0], 1):
        return "needed"
    return "all" if pairs[1] >= widths[1] else "texts"


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(2 * LONGEST_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _without_preamble(text: str) -> tuple[str, int, str | None]:
    """Return the text from the header line on, the number of lines above it, and the separator of a ``sep=`` line."""
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
    """True if the line that begins with ``#`` is the header: the line below has as many fields, some of them values."""
    lines = [line for line in text[:SAMPLE].splitlines()[:3] if line.strip()]
    if len(lines) < 2 or lines[1].startswith("#"):
        return False
    separator = max(SEPARATORS, key=lines[0].count)
    head, below = (next(csv.reader([line], delimiter=separator)) for line in lines[:2])
    return len(head) == len(below) > 1 and any(map(looks_like_value, below))


def _all_rows(
    path: Path, text: str, separator: str, above: int, remarks: list[str]
) -> tuple[list[str], list[pa.ChunkedArray]]:
    """Return the names and the cells by column."""
    rows = rows_of(text, separator)
    names: list[str] = []
    head: list[str] = []
    rows_named = False
    chunks: list[list[pa.Array]] = []
    block: list[list[str]] = []
    comments = blank = between = repeats = ended = 0
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
                head = row
                names, rows_named = _head(path, row, text, separator)
                continue
            if row == head and len(row) > 1:
                repeats += 1
                continue
            if len(row) != len(names):
                if row[0].startswith("#"):
                    comments += 1
                    continue
                if len(row) == len(names) + 1 and not row[-1]:
                    row = row[:-1]
                    ended += 1
                else:
                    raise DataError(_ragged(path, rows.line_num + above, row, names))
            block.append(row)
            if len(block) == _BLOCK:
                chunks.append(_by_column(block))
                block = []
    except csv.Error as error:
        raise _Broken(
            f"{path}: the row that begins in line {line} cannot be read ({error}); a value that holds a double quote "
            "is written in quotes, with its own doubled"
        ) from None
    if block:
        chunks.append(_by_column(block))
    if not chunks:
        raise DataError(f"{path} has a line of column names and no rows")
    skipped = {
        "blank lines between the rows are left out; write NA for a missing value": blank * (len(names) == 1),
        "lines of comments between the rows are left out": comments,
        "lines between the rows repeat the names of the columns and are left out": repeats,
        "rows end with a separator, and the first line does not: their empty last field is left out": ended,
    }
    remarks.extend(f"{count} {what}" for what, count in skipped.items() if count)
    columns = [pa.chunked_array([chunk[i] for chunk in chunks]) for i in range(len(names))]
    if ended == len(columns[0]) > 1:
        _check_ended(path, text, columns[0])
    if rows_named:
        names, columns = _without_row_names(path, names, columns, remarks)
    return names, columns


def _head(path: Path, row: list[str], text: str, separator: str) -> tuple[list[str], bool]:
    """Return the column names, an empty one first if rows have names, and whether they do."""
    names = _checked_names(path, row, text)
    if any(map(looks_like_value, names)) or not names_its_rows(text, separator, len(names)):
        return names, False
    return ["", *names], True


def _check_ended(path: Path, text: str, first: pa.ChunkedArray) -> None:
    """Raise ``DataError`` if empty last fields may be a column of their own, as the first fields may be row names."""
    cells = first.slice(0, SAMPLE_ROWS).to_pylist()
    quoted = all(line.startswith('"') for line in text.splitlines()[1 : SAMPLE_ROWS + 1] if line.strip())
    if name_rows(cells) and (quoted or not all(cell.strip().isdigit() for cell in cells)):
        raise DataError(
            f"{path}: rows have an empty last field more than the first line names columns, and begin with what may be "
            f"names of rows ({cells[0]!r}, ...): name all columns in the first line, or end no row with a separator"
        )


def _without_row_names(
    path: Path, names: list[str], columns: list[pa.ChunkedArray], remarks: list[str]
) -> tuple[list[str], list[pa.ChunkedArray]]:
    first = columns[0]
    shown = ", ".join(map(repr, first.slice(0, 2).to_pylist()))
    if len(first.unique()) < len(first):
        raise DataError(
            f"{path}: rows have {len(names)} fields, but the first line names {len(names) - 1} columns, and their "
            f"first fields ({shown}, ...) repeat, so that they are no names of rows; name all columns in the first line"
        )
    remarks.append(
        f"the first field of each row ({shown}, ...) has no name in the first line: it is taken for the row's, as R "
        "writes it, and left out; name it there to have it read"
    )
    return names[1:], columns[1:]


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
    """Raise ``DataError`` if title lines stand above the header."""
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


def _ragged(path: Path, line: int, row: list[str], names: list[str]) -> str:
    many = len(row) > len(names)
    shown = row[len(names)] if many else names[len(row)]
    what = f"the first one too many is {shown[:40]!r}" if many else f"none for column {shown!r}"
    return (
        f"{path}: line {line} has {len(row)} fields, but the first line names {len(names)} columns ({what}); "
        "write each row with as many, and values that hold the separator in double quotes"
        + (", name a first column that has no name" if len(row) == len(names) + 1 else "")
        + (", or delete lines of a title above the names" if many and line <= 20 else "")
    )


def _named(
    path: Path, names: list[str], columns: list[pa.ChunkedArray], remarks: list[str]
) -> dict[str, pa.ChunkedArray]:
    """Return columns by name; nameless ones get pandas' names, or are left out if empty."""
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
    """Return a name for the nameless column at index ``place``: pandas' one, distinct from all ``names``."""
    name = f"Unnamed: {place}"
    while name in names:
        name += ".1"
    return name
