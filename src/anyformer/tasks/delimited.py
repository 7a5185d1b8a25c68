"""Files of delimited text, cell by cell: which separator, which lines, and every row as long as the first."""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from anyformer.tasks.base import DataError
from anyformer.tasks.formats import binary_kind, text_format
from anyformer.tasks.numbers import looks_like_number

LONGEST_LINE = 1_000_000
SEPARATORS = ",;\t|"
_SAMPLE = 200_000
_SAMPLE_ROWS = 100
_BLOCK = 65_536
_DATE = re.compile(r"[0-9]+[./-][0-9]+[./-][0-9]+([ T].*)?")
_IN_QUOTES = re.compile(r'"(?:[^"]|"")*"')
_MOMENT = re.compile(r"[0-9]+[./-][0-9]+[./-][0-9]+ [0-9]+:[0-9]+[^ ]*( ?[AaPp]\.?[Mm]\.?)?")


@dataclass(frozen=True)
class Style:
    """How a file of delimited text is written.

    Attributes:
        separator: of the fields.
        encoding: as Python calls it; with a mark of the order of bytes where the file begins with one.
        quotes: which fields stand in quotes: those that need it, texts (names of columns too), or all.
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
        style: how it is written; its decimal mark is for whoever reads numbers to tell.
        remarks: what was left out.
    """

    columns: dict[str, pa.ChunkedArray]
    style: Style
    remarks: list[str] = field(default_factory=list)


def decode(path: Path, data: bytes) -> str:
    """The text in ``data``; ``DataError`` with the file and the place of the first byte that is not UTF-8 text."""
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
    column that a separator at the end of each line makes are no part of the table; neither are the names of rows, for
    which R's ``write.table`` writes no name of a column.

    Raises:
        DataError: a row has more or fewer fields than there are names, or quotes do not match; with the line.
    """
    data = path.read_bytes()
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
        style = Style(separator, encoding, _quotes(text, separator), "\r\n" if "\r\n" in text else "\n")
    _check_top(path, names, columns)
    return Cells(_named(path, names, columns, remarks), style, remarks)


def _decoded(path: Path, data: bytes) -> tuple[str, str]:
    """A table's text, and its encoding: UTF-8, or UTF-16 with its mark, as spreadsheets write it."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        with suppress(UnicodeDecodeError):
            if "\0" not in (text := data.decode("utf-16")):
                return text, "utf-16"
        raise DataError(f"{path} begins as UTF-16 text does, and is none; save the file as UTF-8")
    return decode(path, data), "utf-8-sig" if data.startswith(BOM_UTF8) else "utf-8"


def _read(
    path: Path, text: str, declared: str | None, above: int, remarks: list[str]
) -> tuple[str, list[str], list[pa.ChunkedArray]]:
    """The separator, the names and the cells by column."""
    separator = declared or find_separator(text)
    if separator == " " and '"' not in text:
        text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    names, columns = _all_rows(path, text, separator, above, remarks)
    return separator, names, columns


class _Broken(DataError):
    """Quotes that do not match."""


def _rows_of(text: str, separator: str) -> Any:
    """A ``csv.reader``, whose class has no public name."""
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)


def _quotes(text: str, separator: str) -> Literal["needed", "texts", "all"]:
    """Which fields of a file stand in quotes, by its first two rows."""
    taken: list[str] = []
    lines = (taken.append(line) or line for line in text[:_SAMPLE].lstrip().splitlines(keepends=True))  # type: ignore[func-returns-value]
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
    return " " if best[0] <= 0 and _parted_by_blanks(text) else separator


def _parted_by_blanks(text: str) -> bool:
    """Whether blanks part several fields, as many in each row, most of them values or texts in quotes.

    A row may have one field more, its name, as R writes it. Lines that are values as a whole, ``1 234`` or a day with
    its hour, have one field.
    """
    lines = [line for line in text[:_SAMPLE].splitlines() if line.strip()][:_SAMPLE_ROWS]
    lines = lines if len(text) <= _SAMPLE or len(lines) == _SAMPLE_ROWS else lines[:-1]
    if any(looks_like_number(line.strip()) or _MOMENT.fullmatch(line.strip()) for line in lines[1:]):
        return False
    try:
        head, *rows = ([cell for cell in row if cell] for row in _rows_of("\n".join(lines), " "))
    except csv.Error:
        return False
    widths = {len(row) for row in rows}
    if len(widths) != 1 or (width := widths.pop()) not in (len(head), len(head) + 1) or width < 2:
        return False
    cells = [cell for row in rows for cell in row]
    quoted = lines[0].startswith('"') and all('"' in line for line in lines)
    if width > len(head) and not quoted and not _name_rows([row[0] for row in rows]):
        return False
    return quoted or sum(map(looks_like_value, cells)) >= 0.5 * len(cells)


def _name_rows(cells: Sequence[str]) -> bool:
    """Whether these may be names of rows: all different, and whole numbers or texts, not dates or measurements."""
    cells = [cell.strip() for cell in cells]
    counts = all(cell.isdigit() for cell in cells)
    return len(set(cells)) == len(cells) and (counts or not any(map(looks_like_value, cells)))


def _score(text: str, separator: str) -> tuple[float, ...]:
    whole = len(text) <= _SAMPLE
    rows: list[list[str]] = []
    broken = False
    try:
        for row in _rows_of(text[:_SAMPLE], separator):
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
    if width == 1 and '"' in text and not any(fits) and _names_its_rows(text[:_SAMPLE], separator, 1):
        return (2, 1.0, 1.0, 1.0, 2, -SEPARATORS.index(separator))
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
    rows = _rows_of(text, separator)
    names: list[str] = []
    head: list[str] = []
    rows_named = False
    chunks: list[list[pa.Array]] = []
    block: list[list[str]] = []
    comments = blank = between = repeats = 0
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
    }
    remarks.extend(f"{count} {what}" for what, count in skipped.items() if count)
    columns = [pa.chunked_array([chunk[i] for chunk in chunks]) for i in range(len(names))]
    if rows_named:
        names, columns = _without_row_names(path, names, columns, remarks)
    return names, columns


def _head(path: Path, row: list[str], text: str, separator: str) -> tuple[list[str], bool]:
    """The names of the columns, an empty one first where rows have names of their own; and whether they do."""
    names = _checked_names(path, row, text)
    if any(map(looks_like_value, names)) or not _names_its_rows(text, separator, len(names)):
        return names, False
    return ["", *names], True


def _names_its_rows(text: str, separator: str, width: int) -> bool:
    """Whether the first rows have one field more than there are names, and begin with what may be their own."""
    with suppress(csv.Error):
        rows = (row for row in _rows_of(text, separator) if any(map(str.strip, row)))
        body = [
            row for row in islice(rows, 1, _SAMPLE_ROWS) if not (row[0].startswith("#") and len(row) != width)
        ]
        longer = [row for row in body if len(row) == width + 1]
        return (
            len(longer) == len(body) > 1
            and any(row[-1] for row in longer)
            and _name_rows([row[0] for row in longer])
        )
    return False


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
        + (", name a first column that has no name" if len(row) == len(names) + 1 else "")
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
