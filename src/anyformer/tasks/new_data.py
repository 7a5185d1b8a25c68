"""New data for a model: the columns that it needs, and what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from anyformer.errors import DataError
from anyformer.tables.columns import check_column, holds_lists, is_text
from anyformer.tables.delimited import DelimitedStyle
from anyformer.tables.reading import Table
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import Category
from anyformer.tasks.categorycolumns import texts_of
from anyformer.tasks.choices import group_keys, note_ungrouped
from anyformer.tasks.columns import is_called_as_ids

LONGEST_NAME = 64
"""Characters of a text that may name a row."""


@dataclass(frozen=True)
class Unseen:
    """Sequences with unknown targets.

    Attributes:
        batch: all of them; targets are NaN, or -1 for classes.
        names: identifies the answers: a row for each sequence, or for each step that is forecast.
        remarks: decisions made about the data.
        style: the format of the file, if it is one of delimited text.
    """

    batch: Batch
    names: pd.DataFrame
    remarks: list[str] = field(default_factory=list)
    style: DelimitedStyle = field(default_factory=DelimitedStyle)

    def parts(self, batch_size: int) -> Iterator[Batch]:
        """Yield all of them in batches."""
        for start in range(0, len(self.batch), batch_size):
            yield self.batch[start : start + batch_size]


def beside(names: pd.DataFrame, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return answers beside the names of what they are about; a name that an answer has too is called otherwise."""
    numbers = {"row": "number of the row", "step": "number of the step"}
    other = {name: numbers.get(name, f"{name} (given)") for name in names if name in found}
    return pd.concat([names.rename(columns=other), pd.DataFrame(found)], axis=1)


def rows_from_1(count: int) -> pd.DataFrame:
    """Return the names of rows without any: their numbers."""
    return pd.DataFrame({"row": np.arange(1, count + 1)})


def names_of_rows(table: Table, used: Collection[str], rows: np.ndarray | None = None) -> pd.DataFrame:
    """Return the number of each row, beside the columns that tell the rows apart, as they are written.

    These are texts of which no two are alike, and such whole numbers whose name says that they are ids.

    Args:
        table: new data.
        used: the model's inputs and targets, which are no names.
        rows: indices of the rows that are asked about; by default all.
    """
    found = rows_from_1(len(table.frame))
    for name in [name for name in table.frame.columns if name not in used]:
        column = table.frame[name]
        numbers = not is_text(column) and not is_datetime64_any_dtype(column)
        if holds_lists(column) or (numbers and (column.dtype.kind == "f" or not is_called_as_ids(name))):
            continue
        keys = table.keys(name)
        if keys.is_unique and keys.notna().all() and keys.astype(str).str.len().max() <= LONGEST_NAME:
            found = found.rename(columns={name: f"number of the {name}"}) if name in found else found
            found[name] = keys.to_numpy()
    return found if rows is None else found.iloc[rows].reset_index(drop=True)


def groups_in(table: Table, names: list[str], remarks: list[str]) -> pd.Series:
    """Return the key of each row's group, missing if one of these columns is; ``DataError`` if one is absent."""
    for name in names:
        check_column(table.path, table.frame, name, needs=f"the model needs the column {name!r}")
    keys = group_keys(table, names).astype("str")
    note_ungrouped(keys, remarks)
    return keys


def named_groups(table: Table, names: list[str], keys: pd.Series, wanted: list[str]) -> pd.DataFrame:
    """Return the group columns, with a row for each of the wanted keys."""
    firsts = keys.drop_duplicates()
    rows = dict(zip(firsts, firsts.index))
    return pd.DataFrame({name: table.keys(name)[[rows[key] for key in wanted]].to_numpy() for name in names})


def numbers_in(table: Table, columns: list[str], remarks: list[str]) -> pd.DataFrame:
    """Return these columns as numbers, NaN where one is missing; ``DataError`` if a column is absent or not numeric."""
    path, frame = table.path, table.frame
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        check_column(
            path, frame, absent[0], needs=f"the model needs the columns {', '.join(map(repr, columns))}"
        )
    found: dict[str, Any] = {}
    for name in columns:
        read = table.numbers(name)
        if read is None:
            why = table.refusals.get(name) or f"is not numeric (it holds {table.shown(name)})"
            raise DataError(f"{path}: column {name!r} {why}")
        found[name] = read
        remarks.extend(table.notes.get(name, []))
    return pd.DataFrame(found, index=frame.index, dtype=np.float64)


def categories_in(table: Table, categories: Sequence[Category], remarks: list[str]) -> dict[str, np.ndarray]:
    """Return the texts of each category ``(rows,)``; ``DataError`` if a column is absent."""
    found = {}
    for category in categories:
        name = check_column(
            table.path, table.frame, category.name, needs=f"the model needs the column {category.name!r}"
        )
        found[name] = texts_of(table, name)
        if gone := int(pd.isna(found[name]).sum()):
            remarks.append(
                f"{gone} of {len(found[name])} values of {name!r} are missing, which is a category of its own"
            )
        if unknown := category.unknown(found[name]):
            shown = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
            remarks.append(f"{name!r}: values that training showed at most once are read as one ({shown})")
    return found
