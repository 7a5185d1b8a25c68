"""Reading tables, and finding out what their columns are."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.registry import nearest
from anyformer.tasks.base import DataError

LONGEST_LINE = 1_000_000


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


def read_csv(path: Path) -> pd.DataFrame:
    """A table whose first line names its columns, separated by commas, semicolons, tabs or bars."""
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{path} is empty")
    check_lines(path, data, "a table needs one line a row")
    text = decode(path, data)
    head = text.lstrip().splitlines()[:2]
    separator = max(",;\t|", key=head[0].count)
    try:
        names, *first = csv.reader(io.StringIO("\n".join(head)), delimiter=separator)
    except csv.Error as error:
        raise DataError(f"{path} is not a readable table: {error}") from None
    if all(_looks_like_value(name) for name in names):
        raise DataError(f"{path}: the first line must name the columns, got {head[0][:60]!r}")
    if len(head) < 2:
        raise DataError(f"{path} has a line of column names and no rows")
    if first and len(first[0]) > len(names):
        raise DataError(
            f"{path}: line 2 has {len(first[0])} fields, but the first line names {len(names)} columns"
        )
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise DataError(f"{path} is not a readable table: {reason}") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame


def read_parquet(path: Path) -> pd.DataFrame:
    """The table in a Parquet file."""
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds for a damaged file
        raise DataError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    frame.columns = [str(name) for name in frame.columns]
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def read_jsonl(path: Path) -> pd.DataFrame:
    """A table with one JSON object a line."""
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{path} is empty")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(decode(path, data).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {number} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise DataError(
                f'{path}: line {number} must be an object like {{"text": ...}}, got {line[:40]!r}'
            )
        records.append(record)
    return pd.DataFrame(records)


def check_column(path: Path, frame: pd.DataFrame, name: str, argument: str) -> str:
    """``name``, or ``DataError`` with the nearest columns where the table has none of that name."""
    if name not in frame.columns:
        raise DataError(f"{argument}: {path} has no column {name!r}{nearest(name, list(frame.columns))}")
    return name


def is_text(column: pd.Series) -> bool:
    """Whether a column holds anything but numbers, booleans and dates."""
    kinds = pd.api.types
    return not (kinds.is_numeric_dtype(column) or kinds.is_datetime64_any_dtype(column))


def to_numbers(column: pd.Series) -> tuple[pd.Series, str | None] | None:
    """A column as floats with NaN for what is missing or infinite, and a remark; None where it is not numeric.

    Texts that stand in for missing numbers ("n/a", "-") are borne in up to a tenth of a column.
    """
    remark = None
    if pd.api.types.is_datetime64_any_dtype(column):
        return None
    if is_text(column):
        present = column.dropna().astype(str)
        numbers = pd.to_numeric(present, errors="coerce")
        if numbers.isna().all() and _has_decimal_commas(present):
            remark = f"commas in {column.name!r} are read as decimal points"
            column = column.astype(str).str.replace(",", ".")
            return pd.to_numeric(column, errors="coerce").astype("float64"), remark
        odd = present[numbers.isna()]
        if len(odd) > 0.1 * len(present) or present.empty:
            return None
        if len(odd):
            remark = f"{len(odd)} values of {column.name!r} are not numbers (first: {odd.iloc[0]!r})"
        column = pd.to_numeric(column, errors="coerce")
    values = column.astype("float64")
    return values.mask(~np.isfinite(values)), remark


def _has_decimal_commas(texts: pd.Series) -> bool:
    """Whether texts are numbers such as 0,5 and not all such as 1,234, where the comma may part thousands."""
    commas = texts.str.fullmatch(r"\s*[+-]?\d+,\d+\s*")
    return bool(commas.mean() > 0.5) and not bool(texts[commas].str.contains(r",\d{3}\s*$").all())


def _looks_like_value(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return bool(text.strip()) and pd.notna(pd.to_datetime(text, errors="coerce", format="ISO8601"))
    return True
