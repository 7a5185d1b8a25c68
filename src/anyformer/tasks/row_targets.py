"""Targets of rows: classes, or numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import SPLIT, holds_lists, is_text
from anyformer.tables.reading import Table


def has_target(table: Table, targets: Sequence[str], kind: str | None, remarks: list[str]) -> pd.Series:
    """Return a mask of the rows that have all targets; ``DataError`` if none has."""
    known = pd.Series(True, table.frame.index)
    for name in targets:
        column = table.numbers(name) if kind == "regress" else _values(table, name)
        if column is None and kind == "regress":
            raise DataError(_needs_numbers(table, name))
        column = table.keys(name) if column is None else column
        if column.isna().all():
            raise DataError(f"{option('target')}: column {name!r} of {table.path} has no value in any row")
        known &= column.notna()
        remarks.extend(note for note in table.notes.get(name, []) if note not in table.of_marks(name))
    if not known.any():
        raise DataError(
            f"{option('target')}: no row of {table.path} has all of {', '.join(map(repr, targets))}"
        )
    if not known.all():
        gone = f"{int((~known).sum())} of {len(known)} rows have no target and are left out"
        marks = [text for name in targets for text in table.marks.get(name, {})]
        if marks and kind != "regress":
            shown = ", ".join(map(repr, marks[:5]))
            gone += f" ({shown}: texts for missing values; {option('missing', '')} makes them classes)"
        remarks.append(gone)
    return known


def _values(table: Table, name: str) -> pd.Series | None:
    """Return a target's numbers; None if it holds texts, or texts that the user's ``missing`` keeps as values."""
    values = table.numbers(name)
    if values is None or table.convention.missing is None:
        return values
    return None if (values.isna() & table.keys(name).notna()).any() else values


def _needs_numbers(table: Table, name: str) -> str:
    why = table.refusals.get(name) or f"is not numeric (it holds {table.shown(name)})"
    return (
        f"{option('target')}: column {name!r} of {table.path} {why}; regression needs numbers: give "
        f"{option('kind', 'classify')} to tell classes"
    )


def targets_of(
    table: Table, targets: Sequence[str], kind: str | None, remarks: list[str]
) -> tuple[np.ndarray, list[str] | None]:
    """Return targets as class numbers with the classes' names, or as floats ``(N, M)`` and None; a remark says why."""
    for name in targets:
        if holds_lists(table.frame[name]):
            raise DataError(
                f"{option('target')}: column {name!r} of {table.path} holds lists or objects; a single value is needed"
            )
    if len(targets) > 1 or kind == "regress":
        numbers = [table.numbers(name) for name in targets]
        for name, one in zip(targets, numbers):
            if one is None:
                raise DataError(_needs_numbers(table, name))
        found = np.stack([one.to_numpy() for one in numbers if one is not None], 1)
        if kind is None and np.isin(found, (0, 1)).all():
            remarks.append(
                f"{len(targets)} targets hold 0 and 1 alone and are predicted as numbers; {option('kind', 'labels')} "
                "takes them for labels"
            )
        return found, None
    name, values = targets[0], _values(table, targets[0])
    keys = table.keys(name)
    different = keys.nunique() if values is None else values.nunique()
    if kind is None and values is not None and not pd.api.types.is_bool_dtype(table.frame[name]):
        known = values.to_numpy()
        if not np.equal(known, np.rint(known)).all() or different > max(2, min(20, len(known) // 10)):
            remarks.append(f"target {name!r} is numeric with {different} different values: regression")
            return known[:, None], None
    if different > 2 and different > 0.5 * len(keys):
        raise DataError(
            f"{option('target')}: column {name!r} of {table.path} has {different} different values in {len(keys)} "
            "rows; a class must repeat"
            + (
                _written_instead(table, name)
                if values is None
                else f": give {option('kind', 'regress')} to predict numbers"
            )
        )
    codes, names = classes_of(name, keys, values, remarks)
    remarks.append(f"target {name!r} has {len(names)} different values: classification")
    return codes, names


def _written_instead(table: Table, name: str) -> str:
    """Return how to ask for the texts of a column, if others could be their sources."""
    others = [
        str(other)
        for other in table.frame.columns
        if other not in (name, SPLIT) and is_text(table.frame[other])
    ]
    if not others:
        return ""
    text = option("text", others[0]) if len(others) == 1 else option("text", "NAME")
    return f"; {option('kind', 'translate')} with {text} writes its texts from those of another column"


def classes_of(
    name: str, keys: pd.Series, values: pd.Series | None, remarks: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Return class numbers and names, in the order of the values or of the alphabet.

    Equal numbers are one class however they are written: 1, "1", 1.0. Its name is the text, or that of
    the number if there are several.
    """
    texts = keys.map(class_name)
    if values is None or pd.api.types.is_bool_dtype(keys) or (values.abs() >= 2**53).any():
        codes, names = pd.factorize(texts, sort=True)
        folded = pd.Series(names).str.casefold()
        for twin in folded[folded.duplicated()].unique():
            alike = " and ".join(repr(one) for one in names if one.casefold() == twin)
            remarks.append(f"classes {alike} of {name!r} differ in case alone and are kept apart")
        return codes.astype(np.int64), list(names)
    codes, different = pd.factorize(values, sort=True)
    found = []
    for code, value in enumerate(different):
        written = sorted(texts[codes == code].unique())
        found.append(written[0] if len(written) == 1 else class_name(float(value)))
        if len(written) > 1:
            remarks.append(f"{' and '.join(map(repr, written))} of {name!r} are one class: {found[-1]}")
    return codes.astype(np.int64), found


def class_name(value: object) -> str:
    """Return the name of a class or category: whole numbers without a decimal point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
