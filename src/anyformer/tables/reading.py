"""Files of rows as tables with columns of numbers, booleans, dates or texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Number
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import as_texts
from anyformer.tables.delimited import DelimitedStyle, read_cells, unnamed
from anyformer.tables.margins import without_margins
from anyformer.tables.numbercells import LARGEST, Convention
from anyformer.tables.numbers import NumberReading, read_numbers, read_plain
from anyformer.tables.objects import read_objects
from anyformer.tables.written import Written, factorized


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        path: the file.
        frame: columns of numbers and booleans are float64, int64, bool or boolean; dates are datetimes if the file
            stores them as such, else texts; NaN, NaT or NA where a value is missing.
        written: by column, the texts of the file, None where one is missing; not for columns typed by the file.
        notes: by column, remarks on how its values were read.
        marks: by column, the texts taken for missing values, with their counts.
        refusals: by column, why it holds no numbers, if it seemed to.
        remarks: about the file.
        decimal: the decimal mark of the file's numbers; None if it shows none, or both.
        convention: the user's options for the file.
        style: the format of a file of delimited text.
    """

    path: Path
    frame: pd.DataFrame
    written: Written = field(default_factory=lambda: Written())
    notes: dict[str, list[str]] = field(default_factory=dict)
    marks: dict[str, dict[str, int]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    decimal: str | None = None
    convention: Convention = field(default_factory=Convention)
    style: DelimitedStyle = field(default_factory=DelimitedStyle)

    def numbers(self, name: str) -> pd.Series | None:
        """Return a column as float64, NaN where a value is missing; None if it holds no numbers."""
        column = self.frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            return None
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), column.index, name=name, copy=False)

    def keys(self, name: str) -> pd.Series:
        """Return a column's values as keys of rows: its texts, if the file is one of text."""
        if name not in self.written:
            return self.frame[name]
        column = self.distinct(name)
        return pd.Series(as_texts(column.array), column.index, dtype=object, name=name)

    def distinct(self, name: str) -> pd.Series:
        """Return :meth:`keys` as categories, one for each different value, in no order."""
        if name not in self.written:
            codes, values = pd.factorize(self.frame[name])
            held = pd.Categorical.from_codes(codes, values)
            return pd.Series(held, self.frame.index, name=name)
        whole = self.written.stripped(name)
        return whole if whole.index.equals(self.frame.index) else whole.loc[self.frame.index]

    def of_marks(self, name: str) -> list[str]:
        """Return remarks on a column's texts that were taken for missing values, with the option that keeps them."""
        return [
            f"{text!r} in {name!r} counts as missing ({count} rows); {option('missing', '')} makes it a value as others"
            for text, count in self.marks.get(name, {}).items()
        ]

    def shown(self, name: str) -> str:
        """Return a column's first value, for messages."""
        column = self.keys(name).dropna()
        return repr(column.tolist()[0]) if len(column) else "nothing"


def stacked(table: Table, more: Table, named: str) -> Table:
    """Return the rows of two tables as one; ``named`` is the option that named the second file.

    Raises:
        DataError: their columns differ, by name or by type.
    """
    for one, other in ((table, more), (more, table)):
        if absent := [repr(name) for name in one.frame.columns if name not in other.frame.columns]:
            raise DataError(
                f"{named}: {other.path} has no column {', '.join(absent[:3])}, which {one.path} has; both must have "
                "the same columns"
            )
    frame, written = {}, Written()
    for name in table.frame.columns:
        columns = [part.frame[name].reset_index(drop=True) for part in (table, more)]
        kinds = {
            column.dtype.kind in "biuf" or str(column.dtype) == "boolean"
            for column in columns
            if column.notna().any()
        }
        if len(kinds) > 1:
            texts, numbers = (table, more) if columns[1].dtype.kind in "biuf" else (more, table)
            raise DataError(
                f"{named}: column {name!r} holds numbers in {numbers.path} and texts in {texts.path}, such as "
                f"{texts.shown(name)}"
            )
        frame[name] = pd.concat(columns, ignore_index=True)
        if all(name in part.written for part in (table, more)):
            written[name] = pd.concat([part.written[name] for part in (table, more)], ignore_index=True)
    return replace(
        table,
        frame=pd.DataFrame(frame),
        written=written,
        notes={
            name: [*table.notes.get(name, []), *more.notes.get(name, [])]
            for name in {**table.notes, **more.notes}
        },
        marks={
            name: {**table.marks.get(name, {}), **more.marks.get(name, {})}
            for name in {**table.marks, **more.marks}
        },
        refusals={**more.refusals, **table.refusals},
        remarks=[*table.remarks, *(f"{more.path.name}: {remark}" for remark in more.remarks)],
    )


def read_csv(path: Path, convention: Convention) -> Table:
    """Read a table with a header line, separated by commas, semicolons, tabs, bars or blanks."""
    cells = without_margins(read_cells(path))
    table = Table(path, pd.DataFrame(), remarks=list(cells.remarks))
    found = _typed_table(table, cells.columns, convention, cells.style.separator)
    usual = "," if cells.style.separator == ";" else "."
    decimal = convention.decimal or found.decimal or convention.likely or usual
    return replace(found, style=replace(cells.style, decimal=decimal))


def read_parquet(path: Path, convention: Convention) -> Table:
    """Read the table in a Parquet file."""
    try:
        names = pq.read_schema(path).names
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one")
        texts = _text_columns(pq.read_schema(path))
        encoded = pq.read_table(path, columns=texts, read_dictionary=texts)
        frame = pd.read_parquet(path, columns=[name for name in names if name not in {*texts}])
    except DataError:
        raise
    except Exception as error:  # pyarrow raises many kinds for a damaged file
        raise DataError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    pa.default_memory_pool().release_unused()
    frame.columns = [str(name) for name in frame.columns]
    if not len(frame.columns) and frame.index.empty:
        frame = pd.DataFrame(index=pd.RangeIndex(encoded.num_rows))
    frame = _without_index(path, frame)
    order = [name for name in frame.columns if name not in names]
    order += [name for name in names if name in frame.columns or name in texts]
    return from_objects(path, frame, convention, dict(zip(texts, encoded.columns)), order)


def _text_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of texts in a Parquet file, but those of a table's index."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    if any(isinstance(one, dict) and one.get("name") for one in index):
        return []  # row numbers with a name, which may be that of a column
    levels = {
        one.get("name")
        for one in (schema.pandas_metadata or {}).get("columns", [])
        if one.get("field_name") in index
    }  # names of the index, which a column may have too
    kinds = {field.name: field.type for field in schema if field.name not in [*index, *levels]}
    values = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    return [
        name for name, kind in values.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ]


def _without_index(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its index among its columns, if that is more than row numbers or a copy of a column."""
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        return frame.reset_index(drop=True)  # a slice begins elsewhere than at 0, or goes backwards
    for name in [name for name in frame.index.names if name is not None]:
        if str(name) in frame.columns:
            level = frame.index.get_level_values(name)
            if not level.equals(pd.Index(frame[str(name)])):
                raise DataError(f"{path}: the index and a column are both named {name!r}; rename one")
            if frame.index.nlevels == 1:
                return frame.reset_index(drop=True)
            frame = frame.droplevel(name)
    return frame.reset_index()


def read_jsonl(path: Path, convention: Convention) -> Table:
    """Read a table with one JSON object on each line."""
    records = [record for _, record in read_objects(path, '{"text": ...}')]
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: pd.Series([record.get(name) for record in records], dtype=object) for name in names}
    return from_objects(path, pd.DataFrame(columns), convention)


def from_objects(
    path: Path,
    frame: pd.DataFrame,
    convention: Convention,
    encoded: Mapping[str, pa.ChunkedArray] = MappingProxyType({}),
    order: Sequence[str] | None = None,
) -> Table:
    """Return a table with some columns already typed by the file.

    Args:
        path: of the file.
        frame: its columns, those of texts as objects.
        convention: the user's options for texts.
        encoded: further columns, of texts with a dictionary.
        order: all columns, in the order of the table.
    """
    columns = list(frame.columns if order is None else order)
    given = [str(name).strip() for name in columns]
    stripped = pd.Index([name or unnamed(place, given) for place, name in enumerate(given)], dtype=object)
    if stripped.has_duplicates:
        raise DataError(f"{path}: two columns are named {stripped[stripped.duplicated()][0]!r}; rename one")
    named = dict(zip(stripped, columns))
    frame = frame.set_axis([stripped[columns.index(name)] for name in frame.columns], axis=1)
    table = Table(path, pd.DataFrame(index=frame.index))
    texts: dict[str, pa.ChunkedArray] = {}
    typed: dict[str, pd.Series] = {}
    for name in stripped:
        if named[name] in encoded:
            texts[name] = encoded[named[name]]
            continue
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            typed[name] = _bounded(column, table)
            continue
        cells = None if pd.api.types.is_datetime64_any_dtype(column) else _texts(column)
        if cells is None:
            typed[name] = column
        else:
            texts[name] = pa.chunked_array([pa.array(cells, pa.large_string())])
    nothing = replace(convention, missing=convention.missing or frozenset())
    rest = _typed_table(table, texts, convention, "", gone=nothing)
    for name in texts:
        if named[name] in encoded:
            continue
        kinds = {isinstance(value, bool) for value in frame[name] if isinstance(value, Number)}
        if len(kinds) > 1:
            rest.notes[name].append(f"{name!r} holds numbers and truth values, which are kept apart as texts")
    found = {name: typed.get(name, rest.frame.get(name)) for name in stripped}
    return replace(rest, frame=pd.DataFrame(found, index=frame.index, copy=False))


def _texts(column: pd.Series) -> list[str] | None:
    """Return a column's values as texts, empty where one is missing; None for dates, lists and other types."""
    found: list[str] = []
    for value in column.tolist():
        if isinstance(value, str):
            found.append(value)
        elif (
            value is None
            or value is pd.NA
            or value is pd.NaT
            or (isinstance(value, float) and value != value)
        ):
            found.append("")
        elif isinstance(value, Number):
            found.append(str(value))
        elif isinstance(value, bytes) and value.decode("utf-8", "replace").encode() == value:
            found.append(value.decode())
        else:
            return None
    return found


def _bounded(column: pd.Series, table: Table) -> pd.Series:
    """Return a column of numbers, NaN where one is infinite or beyond ``LARGEST``."""
    if not pd.api.types.is_float_dtype(column):
        known = column.dropna() if pd.api.types.is_integer_dtype(column) else column[:0]
        large = known[(known >= 2**53) | (known <= -(2**53))].tolist()
        lost = sum(int(float(value)) != value for value in large)
        if lost:
            table.notes[column.name] = [
                f"{lost} values of {column.name!r} have more digits than a number holds and lose the last ones"
            ]
        return column
    values = column.to_numpy(np.float64, na_value=np.nan)
    beyond = np.abs(values) > LARGEST
    if beyond.any():
        row = int(np.argmax(beyond))
        table.notes[column.name] = [
            f"{int(beyond.sum())} values of {column.name!r} are infinite or beyond {LARGEST:.0e} (first: {values[row]} "
            f"in row {row + 1}) and count as missing"
        ]
        values = np.where(beyond, np.nan, values)
    return pd.Series(values, column.index, name=column.name, copy=False)


def _typed_table(
    table: Table,
    columns: dict[str, pa.ChunkedArray],
    convention: Convention,
    separator: str,
    gone: Convention | None = None,
) -> Table:
    """Return a table with columns of texts typed; ``gone`` are the missing values of those that remain texts."""
    apart, codes = {}, {}
    frame: dict[str, Any] = {}
    decimals: set[str] = set()
    for name, column in columns.items():
        encoded = pa.types.is_dictionary(column.type)
        if encoded:
            different, codes[name], counts, firsts = factorized(column)
            column = pa.chunked_array([pa.array(different, pa.large_string())])
        plain = read_plain(column, convention)
        if plain is not None and plain.values is not None:
            if encoded:
                values = plain.values[codes[name]]
                cells = np.array([text or None for text in different], dtype=object)
                table.written.codes[name] = codes[name], cells
            else:
                values, table.written.cells[name] = plain.values, column
            frame[name] = _whole(values)
            decimals |= {plain.decimal} if plain.decimal else set()
            continue
        if not encoded:
            different, codes[name], counts, firsts = factorized(column)
        apart[name] = (different, counts, firsts)
    readings = read_numbers(apart, convention, separator, decimals)
    for name, (different, counts, _) in apart.items():
        marks = gone or convention
        missing = np.array([marks.is_missing(text.strip()) for text in different], dtype=bool)
        kept = np.array([None if out else text for text, out in zip(different, missing)], dtype=object)
        table.written.codes[name] = codes[name], kept
        values = _typed(different, missing, readings[name], codes[name])
        if readings[name].refusal:
            table.refusals[name] = str(readings[name].refusal)
        table.notes[name] = list(readings[name].remarks)
        numbers = readings[name].values
        unread = missing if numbers is None else missing | np.isnan(numbers)
        table.marks[name] = {
            text.strip(): int(count)
            for text, count, out in zip(different, counts, unread)
            if out and text.strip()
        }
        if values is None:
            values = table.written[name]
            table.notes[name] = table.of_marks(name)
        frame[name] = values
    decimals |= {reading.decimal for reading in readings.values() if reading.decimal}
    decimal = decimals.pop() if len(decimals) == 1 else None
    ordered = pd.DataFrame({name: frame[name] for name in columns}, copy=False)
    return replace(table, frame=ordered, decimal=decimal, convention=convention)


def _whole(values: np.ndarray) -> np.ndarray:
    """Return the values as integers, if all are and none is missing."""
    whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**53)
    return values.astype(np.int64) if whole.all() else values


def _typed(texts: Sequence[str], missing: np.ndarray, reading: NumberReading, codes: np.ndarray) -> Any:
    """Return a column's numbers or booleans; None if it holds texts."""
    if reading.values is not None:
        return _whole(reading.values[codes])
    if missing.all():
        return np.full(len(codes), np.nan)
    words = [text.strip().lower() for text in texts]
    if any(not out and word not in ("true", "false") for word, out in zip(words, missing)):
        return None
    truth = np.array([word == "true" for word in words])[codes]
    return pd.arrays.BooleanArray(truth, missing[codes]) if missing.any() else truth
