"""The events that are held out for validation and test: after two moments, the last of each user, or as given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from anyformer.dates.reading import Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.reading import Table
from anyformer.tasks.base import SPLITS
from anyformer.tasks.choices import Choices
from anyformer.tasks.eventlog import cuts_of, parts_by_last, parts_by_place
from anyformer.tasks.splits import splits_of

WAYS = ("time", "last")
DIGITS = ("D", "s", "ms", "us")
"""Units of time beyond which dates may have further digits."""


@dataclass(frozen=True)
class OrderedEvents:
    """Events in order, those of one user side by side.

    Attributes:
        table: their rows, in the order of the file.
        order: ``(N,)``, the row of each.
        users: ``(N,)`` int64, the user of each, rising from 0.
        times: ``(N,)`` datetime64, if they have any.
        dated: the dates of the whole file.
    """

    table: Table
    order: np.ndarray
    users: np.ndarray
    times: np.ndarray | None
    dated: Dates | None


def parts_of(events: OrderedEvents, choices: Choices, remarks: list[str]) -> np.ndarray:
    """Return the split in which each event is asked, as a place in ``SPLITS``, ``(N,)`` int8; a remark says how.

    Raises:
        DataError: the events cannot be parted so.
        ValueError: ``holdout`` is no way to part them, or ``split`` is given too.
    """
    path, alone = events.table.path, not choices.groups
    if choices.holdout not in (None, *WAYS):
        raise ValueError(
            f"{option('holdout')} must be {' or '.join(map(repr, WAYS))}, got {choices.holdout!r}"
        )
    if choices.split is not None:
        if choices.holdout is not None:
            raise ValueError(f"{option('holdout')} does not apply where the splits are given")
        return _as_given(events, choices.split, remarks)
    if (choices.holdout or ("time" if events.times is not None or alone else "last")) == "time":
        return _by_time(events, alone, remarks)
    if alone:
        raise DataError(
            f"{path}: {option('holdout', 'last')} asks for the last event of each user, and all rows are one sequence: "
            f"{option('group')} names the column of users"
        )
    by_time = "" if events.times is None else f"; {option('holdout', 'time')} parts them at two moments"
    remarks.append(
        "the last event of each user with three or more is asked in test, the one before it in validation: training "
        f"sees what other users did later{by_time}"
    )
    return parts_by_last(events.users)


def _by_time(events: OrderedEvents, alone: bool, remarks: list[str]) -> np.ndarray:
    table, times = events.table, events.times
    instead = "" if alone else f"{option('holdout', 'last')} asks for the last event of each user"
    if times is None:
        if not alone:
            raise DataError(
                f"{table.path}: {option('holdout', 'time')} needs a column of dates; {option('date')} names it, or "
                f"{instead}"
            )
        remarks.append("the last tenth of the rows is asked in test, the tenth before it in validation")
        return parts_by_place(len(events.users))
    cuts = cuts_of(times)
    if cuts is None:
        raise DataError(
            f"{table.path}: the events have fewer than three different dates, too few to part them by time"
            + (f"; {instead}" if instead else "")
        )
    assert events.dated is not None
    columns = events.dated.reading.columns
    valid, test = (_written(table, columns, int(events.order[np.argmax(times == cut)])) for cut in cuts)
    remarks.append(
        f"events from {test} on are asked in test, those from {valid} to then in validation, and training sees earlier "
        "ones alone" + (f"; {instead} instead" if instead else "")
    )
    found: np.ndarray = (times >= cuts[0]).astype(np.int8) + (times >= cuts[1])
    return found


def _written(table: Table, columns: list[str], row: int) -> str:
    """Return these cells of a row as a text, dates with as many digits as the others of their column."""
    cells = []
    for name in columns:
        column, rows = table.frame[name], [row]
        if pd.api.types.is_datetime64_any_dtype(column):
            clock = column.dt.tz_localize(None).to_numpy()
            for unit in DIGITS:
                finer = clock.astype(f"datetime64[{unit}]") != clock
                finer &= ~np.isnat(clock)
                rows += [int(np.argmax(finer))] * bool(finer.any())
        some = replace(table, frame=table.frame.iloc[rows])
        cells.append(some.keys(name).astype(str).iloc[0])
    return " ".join(cells)


def _as_given(events: OrderedEvents, column: str, remarks: list[str]) -> np.ndarray:
    """Return the user's own parts; without validation, the last training event of each user is asked there."""
    table = replace(events.table, frame=events.table.frame.iloc[events.order])
    users, words = events.users, splits_of(table, column, remarks)
    parts = np.array([SPLITS.index(word) for word in words], dtype=np.int8)
    if not (parts == 1).any():
        last = np.append((users[1:] != users[:-1]) | (parts[1:] != 0), True) & (parts == 0)
        parts[last] = 1
        remarks.append("no validation split is given: the last training event of each user is asked in it")
    back = (np.diff(parts) < 0) & (users[1:] == users[:-1])
    if back.any():
        row = int(table.frame.index[int(np.argmax(back)) + 1]) + 1
        raise DataError(
            f"{option('split')}: row {row} of {events.table.path} is in an earlier split than an event before it, of "
            "the same user: training comes first, then validation, then the test"
        )
    return parts
