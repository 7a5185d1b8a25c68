"""The user's options for a table, and what of them a saved model keeps to read new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.reading import Dates
from anyformer.registry import near
from anyformer.spelling import option
from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import Table
from anyformer.tasks.encoding import DataLayout


@dataclass(frozen=True)
class Choices:
    """The user's options for a table; see :mod:`anyformer.tasks.readers.tables`."""

    targets: list[str] = field(default_factory=list)
    kind: str | None = None
    date: str | Sequence[str] | bool | None = None
    date_format: str | None = None
    dayfirst: bool | None = None
    tz: str | None = None
    groups: list[str] = field(default_factory=list)
    text: str | None = None
    tokenizer: str | None = None
    keep: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    context: int | None = None
    horizon: int | None = None
    quantiles: Sequence[float] | None = None
    known: list[str] = field(default_factory=list)
    calendar: bool | None = None
    reach_back: bool | None = None
    length: int | None = None
    ordered: bool | None = None
    holdout: str | None = None
    only_new: bool | None = None
    split: str | None = None
    class_weights: str | None = None
    convention: Convention = field(default_factory=Convention)
    seed: int = 0

    @property
    def split_column(self) -> list[str]:
        """The column that names the split of each row, if there is one."""
        return [] if self.split is None else [self.split]

    def layout(self, table: Table, **fields: Any) -> DataLayout:
        """Return how the table was read, so that new ones are read alike."""
        said = self.convention
        missing = None if said.missing is None else sorted(said.missing)
        return DataLayout(
            **fields, decimal=said.decimal, thousands=said.thousands, missing=missing, likely=table.decimal
        )

    def refuse(self, what: str, *names: str, instead: str = "") -> None:
        """Raise ``ValueError`` if one of these options was given, which have no effect on such data."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value != []:
                name = {"groups": "group", "categories": "category"}.get(name, name)
                hint = f"; {instead}" if instead else ""
                raise ValueError(f"{option(name)} does not apply to {what}, got {value!r}{hint}")


def check_kind(kind: str | None, kinds: Sequence[str]) -> None:
    """Raise ``ValueError`` unless the user's ``kind`` is one of these, or not given."""
    if kind is not None and kind not in kinds:
        raise ValueError(
            f"{option('kind')} must be one of {', '.join(map(repr, kinds))}, got {kind!r}{near(kind, kinds)}"
        )


def group_keys(table: Table, names: list[str]) -> pd.Series:
    """Return the key of each row's group, as categories of text; missing if one of these columns is."""
    index = table.frame.index
    if not names:
        return pd.Series(pd.Categorical.from_codes(np.zeros(len(index), np.int8), [""]), index)
    if len(names) == 1:
        column = table.distinct(names[0])
        codes, texts = pd.factorize(pd.Series(column.cat.categories).map(str))
        held = pd.Categorical.from_codes(np.append(codes, -1)[column.cat.codes], texts)
        return pd.Series(held, column.index)
    keys = pd.concat([table.keys(name).rename(str(i)) for i, name in enumerate(names)], axis=1)
    known = keys.notna().all(axis=1)
    keys = keys[known]
    firsts = keys.drop_duplicates()
    texts = [" / ".join(map(str, row)) for row in firsts.itertuples(index=False, name=None)]
    if len({*texts}) < len(texts):
        texts = [repr(row) for row in firsts.itertuples(index=False, name=None)]
    numbers = keys.groupby(list(keys.columns), sort=False).ngroup()
    codes = pd.Series(numbers, keys.index).reindex(known.index, fill_value=-1)
    return pd.Series(pd.Categorical.from_codes(codes, texts), known.index)


def note_ungrouped(groups: pd.Series, remarks: list[str]) -> None:
    """Add a remark on rows without a group."""
    if groups.isna().any():
        remarks.append(f"{int(groups.isna().sum())} rows have no group and are left out")


def fields_of_dates(dated: Dates | None) -> dict[str, Any]:
    """Return the layout's fields of dates."""
    return {} if dated is None else {"date": dated.reading.columns[0], "reading": dated.reading}


def reasons(notes: list[str]) -> str:
    """Return notes in parentheses, for the end of a message."""
    return f" ({'; '.join(notes)})" if notes else ""


def note_missing(table: pd.DataFrame, done: str, remarks: list[str]) -> None:
    """Add a remark that counts the missing values by column and says how they are handled."""
    counts = {str(name): int(gone) for name, gone in table.isna().sum().items() if gone}
    if counts:
        total = sum(counts.values())
        columns = ", ".join(f"{name!r} ({gone})" for name, gone in counts.items())
        share = 100 * total / table.size
        remarks.append(f"{total} of {table.size} values are missing ({share:.1f} %), in {columns}; {done}")
