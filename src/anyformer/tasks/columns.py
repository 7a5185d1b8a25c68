"""The columns of a table that are inputs, and the reasons why others are not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from anyformer.dates.columns import read_dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import check_column, holds_lists
from anyformer.tables.reading import Table
from anyformer.tasks.categorycolumns import has_codes, has_one_label_each, is_category
from anyformer.tasks.eventlog import in_order

FEWEST_ROWS = 20
_CERTAIN = 5.0
"""Number of standard deviations beyond which blocks of equal labels are not due to chance."""
_NAMELESS = re.compile(
    r"(unnamed: ?[0-9]+(\.[0-9]+)*|level_[0-9]+|index|__index_level_[0-9]+__"
    r"|row[ ._]?(names?|id|nr|no|num|number|index)?|#)",
    re.I,
)
_ID_WORDS = {"id", "ids", "uid", "uuid", "guid", "oid", "pk", "identifier"}
_COUNT_WORDS = {
    *(
        "nr",
        "no",
        "num",
        "number",
        "key",
        "code",
        "case",
        "sample",
        "obs",
        "observation",
        "record",
        "rec",
        "seq",
        "serial",
    ),
    *(
        "idx",
        "index",
        "row",
        "subject",
        "patient",
        "customer",
        "user",
        "account",
        "order",
        "ticket",
        "invoice",
    ),
}


def is_called_as_ids(name: str) -> bool:
    """True for names such as ``id``, ``customer_nr`` and ``orderKey``."""
    return bool(_words(name) & {*_ID_WORDS, *_COUNT_WORDS}) and not _NAMELESS.fullmatch(name)


def columns_named(table: Table, given: object, argument: str) -> list[str]:
    """Return the columns that an argument names: one, several in a list, or several between commas.

    A column whose own name holds a comma comes first.
    """
    columns = list(table.frame.columns)
    if given is None:
        return []
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        text = str(given)
        parts = [part.strip() for part in text.split(",")]
        names = [text] if text in columns or len(parts) == 1 or not set(parts) & set(columns) else parts
    elif isinstance(given, Sequence) and all(isinstance(name, str | int | float) for name in given):
        names = [str(name) for name in given]
    else:
        raise ValueError(f"{option(argument)} must name one or more columns, got {given!r}")
    for name in names:
        check_column(table.path, table.frame, name, argument)
    if len(set(names)) < len(names):
        raise DataError(f"{option(argument)}: a column is named twice in {names}")
    return names


def input_columns(
    table: Table,
    used: set[str],
    keep: Sequence[str],
    remarks: list[str],
    *,
    labels: Sequence[np.ndarray] | None = None,
    apart: np.ndarray | slice = slice(None),
    text: bool = False,
    categories: list[str],
) -> list[str]:
    """Return the columns of numbers that are inputs; remarks list all others with the reason.

    Left out are texts, dates, what is empty, and what only identifies rows: row numbers and ids.

    Args:
        table: the rows.
        used: columns that have another role in the task.
        keep: columns that stay inputs although they look like row numbers or ids.
        remarks: takes the reasons.
        labels: each target of the rows, as numbers; None for a series, in which the order of rows may be known.
        apart: the rows that are samples of their own: the first of each group, where groups are.
        text: True if one of the columns of text could be read as bytes instead.
        categories: columns named as categories; texts whose values repeat are added.
    """
    found, why = list[str](), dict[str, list[str]]()
    for place, name in enumerate(table.frame.columns):
        if name in used:
            continue
        reason = _no_numbers(table, name, text)
        is_text = reason == _texts(text)
        if is_text and any(
            has_one_label_each(table.distinct(name)[apart], told[apart]) for told in labels or ()
        ):
            reason, is_text = _names_groups(), False
        repeats = is_text and name not in keep and is_category(table, name)
        if name in categories or repeats:
            _check_category(table, name, reason, keep)
            categories += [name] * (name not in categories)
            remarks.extend(table.of_marks(name))
            continue
        if reason is not None and name in keep:
            raise DataError(
                f"{option('keep')}: column {name!r} of {table.path} holds no numbers (but {table.shown(name)})"
            )
        if reason is None and name not in keep:
            reason = _identity(table, name, place, None if labels is None else labels[0])
            if reason is None and any(
                _numbers_name_groups(table, name, told, apart) for told in labels or ()
            ):
                reason = f"{_names_groups()}, {option('keep', 'NAME')} for an input"
        if reason is None:
            found.append(name)
            remarks.extend(table.notes.get(name, []))
            remarks.extend([_looks_like_codes(name)] * has_codes(table, name))
        else:
            why.setdefault(reason, []).append(name)
    remarks.extend(f"left out: {_listed(names)}, {_about(reason, names[0])}" for reason, names in why.items())
    if same := [name for name in found if _is_constant(table, name)]:
        remarks.append(f"the same in all rows, and so telling nothing: {_listed(same)}")
    if labels is not None:
        remarks.extend(
            _tells_order(table, name) for name in found if _rises_like_labels(table, name, labels[0])
        )
    return found


def _is_constant(table: Table, name: str) -> bool:
    values = table.numbers(name)
    return values is not None and values.dropna().nunique() == 1


def _about(reason: str, name: str) -> str:
    """Return a reason, with the options in it naming the column."""
    for argument in ("keep", "text", "group", "category"):
        reason = reason.replace(option(argument, "NAME"), option(argument, name))
    return reason


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _check_category(table: Table, name: str, reason: str | None, keep: Sequence[str]) -> None:
    """Raise ``DataError`` if a column cannot be a category."""
    what = f"{option('category')}: column {name!r} of {table.path}"
    if name in keep:
        raise DataError(f"{what} is also named by {option('keep')}")
    if reason is not None and reason in (_EMPTY, _LISTS):
        raise DataError(f"{what} is {reason}" if reason == _EMPTY else f"{what} is one {reason}")


_EMPTY, _LISTS = "without any value", "of lists or objects"


def _texts(text: bool) -> str:
    """Return the reason why a column of text is no input, with the options that change it."""
    how = f", {option('text', 'NAME')} reads it as bytes" if text else ""
    return f"texts that hardly repeat; {option('category', 'NAME')} takes it for a category{how}"


def _names_groups() -> str:
    """Return the reason why a column whose values have one label each is no input."""
    return (
        f"whose values have one label each, as groups of rows have; {option('group', 'NAME')} reads each as one "
        f"sequence, {option('category', 'NAME')} takes it for a category"
    )


def _numbers_name_groups(table: Table, name: str, labels: np.ndarray, apart: np.ndarray | slice) -> bool:
    """True if whole numbers have one label each, and near ones no more alike than others, as names have it."""
    values = table.numbers(name)
    assert values is not None
    values, labels = values[apart], labels[apart]
    known = values.notna().to_numpy() & ~np.isnan(labels)
    values, labels = values[known], labels[known]
    if not np.equal(values, np.rint(values)).all() or not has_one_label_each(values, labels):
        return False
    by_value = pd.Series(labels, values.index).groupby(values).first()  # in the order of values
    return not in_blocks(by_value.to_numpy())


def _looks_like_codes(name: str) -> str:
    return (
        f"{name!r} has numbers that begin with zeros, as codes do, and is read as numbers; {option('category', name)} "
        "reads codes"
    )


def _no_numbers(table: Table, name: str, text: bool) -> str | None:
    """Return why a column is no numeric input; None if it is one."""
    column = table.frame[name]
    if column.isna().all():
        return _EMPTY
    if table.numbers(name) is not None:
        return None
    if name in table.refusals:
        return f"which {table.refusals[name]}"
    if holds_lists(column):
        return _LISTS
    texts = name in table.written
    if read_dates(pd.DataFrame({name: table.distinct(name) if texts else column}), [name]) is not None:
        return "of dates"
    typed = not pd.api.types.is_object_dtype(column) and not pd.api.types.is_string_dtype(column)
    if typed and not isinstance(column.dtype, pd.CategoricalDtype):
        return f"of the type {column.dtype}, which is not read"
    if table.distinct(name).nunique(dropna=False) == 1:
        return "the same in all rows"
    return _texts(text)


def _words(name: str) -> set[str]:
    """Return the words of a name, in lower case: ``passengerId`` and ``passenger_id`` have the same two."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return {word.lower() for word in re.findall(r"[^\W_0-9]+|[0-9]+", parted)}


def _identity(table: Table, name: str, place: int, labels: np.ndarray | None) -> str | None:
    """Return why a column of numbers only identifies rows; None if it may be a measurement.

    Measurements may be distinct whole numbers too: an amount, a time, a running total. A column counts as an
    identifier by its name, or if its numbers are consecutive, or rise along rows whose labels come in blocks.
    """
    column = table.frame[name]
    if pd.api.types.is_bool_dtype(column):
        return None
    values = table.numbers(name)
    assert values is not None
    known = values.dropna().to_numpy()
    if not len(known) or not np.equal(known, np.rint(known)).all():
        return None
    how = f"; {option('keep', 'NAME')} takes it for an input"
    different, rows = len(np.unique(known)), len(known)
    gaps = np.diff(known)
    counts = rows > 2 and (gaps == 1).mean() > 0.9
    nameless = _NAMELESS.fullmatch(name) is not None or not name
    repeats = (
        rows >= FEWEST_ROWS and different > rows / 4 and known.min() >= 0
    )  # drawn or joined with its repeats
    if nameless and (different == rows or counts or repeats):
        return f"numbers of rows{how}"
    if (
        re.fullmatch(r"[XV](\.?[0-9]+)?", name)
        and place == 0
        and different == rows
        and ((gaps > 0).all() or _consecutive(known))
    ):
        return f"numbers of rows{how}"
    if _words(name) & _ID_WORDS:
        return f"ids by its name{how}"
    if labels is None or rows < FEWEST_ROWS:
        return None
    if different == rows and _consecutive(known):
        return f"counting the rows from {known.min():.0f} to {known.max():.0f}{how}"
    if different >= 0.95 * rows and _words(name) & _COUNT_WORDS:
        return f"ids by its name, different in {'all' if different == rows else 'nearly all'} rows{how}"
    if _dense_rise(known) and in_blocks(labels[values.notna().to_numpy()]):
        return f"numbers that rise along the rows as their labels come in blocks{how}"
    if _numbers_groups(known, labels[values.notna().to_numpy()]):
        block = f"{option('group', name)} reads a block as one sequence"
        return f"numbers of blocks of rows with one label each ({block}){how}"
    return None


def counters(
    table: Table, names: Sequence[str], groups: pd.Series, instants: pd.Series | None
) -> dict[str, str]:
    """Return columns that only count the rows of each group, in the order of the file or of time, with the reasons.

    They restart in each group, or number the rows of the whole file, or rise with gaps as ids do, none of which occurs
    twice in the file. A running total in a single series looks the same, and is left out only by its name.
    """
    codes = pd.factorize(groups)[0]
    dated = codes if instants is None else np.where(instants.isna(), -1, codes)
    numbers = {}
    for name in names:
        values = table.numbers(name)
        assert values is not None
        if _whole(values.to_numpy()[dated >= 0]):
            numbers[name] = values.to_numpy()
    if not numbers:
        return {}
    orders = [in_order(codes, None)]
    if instants is not None:
        orders.append(in_order(dated, instants.to_numpy()))
    found = {}
    for name, known in numbers.items():
        why = next((why for why in (_counts(name, known[rows], codes[rows]) for rows in orders) if why), None)
        if why is not None:
            found[name] = f"{why}; {option('keep', name)} takes it for an input"
    return found


def _whole(known: np.ndarray) -> bool:
    """True if no value is missing, and all are whole numbers."""
    return bool(np.equal(known, np.rint(known)).all())


def _counts(name: str, known: np.ndarray, owners: np.ndarray) -> str | None:
    """Return why the values count the rows of their groups; None if they do not."""
    if len(known) < FEWEST_ROWS or not _whole(known):
        return None
    steps = np.diff(known)[owners[1:] == owners[:-1]]
    if len(steps) < len(known) / 2 or not ((steps > 0).all() or (steps < 0).all()):
        return _permuted(known)
    several = len(np.unique(owners)) > 1
    if np.unique(steps).size == 1 or (np.abs(steps) == 1).mean() > 0.9:
        return "counting the rows of each group" if several else "counting the rows"
    named = several or _words(name) & _COUNT_WORDS
    if named and len(np.unique(known)) == len(known) and np.ptp(known) <= 10 * len(known):
        return "whole numbers that rise from row to row, with gaps, as ids do"
    return None


def _permuted(known: np.ndarray) -> str | None:
    if len(np.unique(known)) == len(known) and _consecutive(known):
        return f"the numbers from {known.min():.0f} to {known.max():.0f}, each in one row"
    return None


def _consecutive(known: np.ndarray) -> bool:
    """True if distinct whole numbers have no gap."""
    return bool(known.max() - known.min() + 1 == len(known))


def _dense_rise(known: np.ndarray) -> bool:
    """True if nearly all values differ and rise or fall with the rows by equal steps, or by small ones."""
    gaps = np.diff(known)
    if not ((gaps >= 0).all() or (gaps <= 0).all()) or (gaps == 0).mean() > 0.05:
        return False
    return bool((gaps == gaps[0]).all() or np.abs(known[-1] - known[0]) <= 10 * len(known))


def _numbers_groups(known: np.ndarray, labels: np.ndarray) -> bool:
    """True if at least ten consecutive numbers rise along the rows, nearly each with several rows of one label."""
    gaps = np.diff(known)
    if not np.isin(gaps, (0, 1)).all() or gaps.sum() < 9 or gaps.mean() > 0.5:
        return False
    changes = labels[1:] != labels[:-1]
    mixed = len(np.unique(known[1:][changes & (gaps == 0)]))
    return bool(mixed <= max(1, 0.02 * gaps.sum()) and in_blocks(labels))


def in_blocks(labels: np.ndarray) -> bool:
    """True if neighbouring rows have equal labels more often than by chance: the file is sorted by label."""
    labels = labels[~np.isnan(labels)]
    if len(labels) < FEWEST_ROWS:
        return False
    different, counts = np.unique(labels, return_counts=True)
    pairs = len(labels) - 1
    if len(different) <= len(labels) / 5:
        chance = float(((counts / len(labels)) ** 2).sum())
        alike = float((labels[1:] == labels[:-1]).sum())
        return alike - pairs * chance > _CERTAIN * np.sqrt(pairs * chance * (1 - chance) + 1e-9)
    ranks = pd.Series(labels).rank().to_numpy()
    return bool(np.corrcoef(ranks[1:], ranks[:-1])[0, 1] * np.sqrt(pairs) > _CERTAIN)


def _rises_like_labels(table: Table, name: str, labels: np.ndarray) -> bool:
    """True if an input rises along rows whose labels come in blocks, so that it gives away the order of the file."""
    values = table.numbers(name)
    assert values is not None
    known = values.to_numpy()
    if np.isnan(known).any() or len(np.unique(known)) < 0.95 * len(known):
        return False
    gaps = np.diff(known)
    return bool(((gaps >= 0).all() or (gaps <= 0).all()) and in_blocks(labels))


def _tells_order(table: Table, name: str) -> str:
    return (
        f"{name!r} rises or falls from row to row, and labels come in blocks: it may tell them by the order of the "
        f"file; {option('drop', name)} leaves it out"
    )
