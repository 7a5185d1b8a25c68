"""Tables whose rows are events of users: which come after which, and which are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.axisrules import LIKELY, NEVER
from anyformer.dates.columns import read_dates
from anyformer.dates.reading import Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.reading import Table
from anyformer.tables.timeaxis import as_written, dated_columns, find_axis
from anyformer.tasks.base import check_integer
from anyformer.tasks.categorycolumns import categories_of
from anyformer.tasks.choices import Choices, fields_of_dates, note_ungrouped
from anyformer.tasks.columns import counters
from anyformer.tasks.eventlog import EventLog, gaps_of, in_order
from anyformer.tasks.holdout import OrderedEvents, parts_of
from anyformer.tasks.next_item import NextItemTask
from anyformer.tasks.rows import features_of


def open_events(
    table: Table, choices: Choices, groups: pd.Series, remarks: list[str]
) -> Callable[[], NextItemTask]:
    """Return what makes the task that asks for the target of each group's next row, and holds the table no more."""
    path = table.path
    if len(choices.targets) != 1:
        told = f", got {', '.join(map(repr, choices.targets))}" if choices.targets else ""
        raise DataError(f"{path}: {option('target')} must name the column of items{told}")
    (item,) = choices.targets
    if item in choices.groups:
        raise DataError(f"{path}: {option('target')} and {option('group')} both name {item!r}")
    dated = _times(table, choices, groups, remarks)
    times = None if dated is None else dated.instants.to_numpy()
    for name in (item, *choices.groups):
        remarks.extend(table.of_marks(name))
    items = categories_of(table, item)
    known = _known(item, items, groups, times, choices, remarks)
    if not known.all():
        table, groups, items = replace(table, frame=table.frame[known]), groups[known], items[known]
        times = None if times is None else times[known]
    if not len(items):
        raise DataError(f"{path}: no row has all of {', '.join(map(repr, [*choices.groups, item]))}")
    names, values, texts = _fields(table, choices, groups, dated, remarks)
    users, different = pd.factorize(groups)
    order = in_order(users, times)
    users, items, x = users[order], items[order], values[order]
    times = None if times is None else times[order]
    marks = bool(np.isnan(x).any())
    del values, groups, known
    if times is not None:
        x = np.column_stack([x, gaps_of(users, times)])
    ordered = OrderedEvents(table, order, users, times, dated)
    _note_users(ordered, choices, remarks)
    parts = parts_of(ordered, choices, remarks)
    if choices.length is not None:
        check_integer("length", choices.length, low=2)
    group = choices.groups[0] if len(choices.groups) == 1 else choices.groups or None
    layout = choices.layout(
        table, kind="groups", columns=names, group=group, length=choices.length, **fields_of_dates(dated)
    )
    return partial(
        NextItemTask,
        EventLog(users.astype(np.int32), parts),
        items,
        x,
        {name: column[order] for name, column in texts.items()},
        item=item,
        user=" and ".join(choices.groups),
        layout=layout,
        marks=marks,
        only_new=bool(choices.only_new),
        name=path.stem,
        seed=choices.seed,
        facts={
            "rows": len(order),
            "users": len(different),
            "columns": [item, *names, *texts],
        },
        remarks=remarks,
    )


def _known(
    item: str,
    items: pd.Categorical,
    groups: pd.Series,
    times: np.ndarray | None,
    choices: Choices,
    remarks: list[str],
) -> np.ndarray:
    """Return a mask of the rows with a group, an item and a time, with remarks on the others."""
    known: np.ndarray = groups.notna().to_numpy()
    note_ungrouped(groups, remarks)
    wanted = {f"no {item!r}": pd.notna(items)}
    if times is not None:
        wanted["no date"] = ~np.isnat(times)
    for what, there in wanted.items():
        if gone := int((known & ~there).sum()):
            remarks.append(f"{gone} of {len(known)} rows have {what} and are left out")
        known = known & there
    return known


def _fields(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> tuple[list[str], np.ndarray, dict[str, pd.Categorical]]:
    """Return the names and values of the numbers, and the texts of the categories, besides the item."""
    used = {
        *choices.targets,
        *choices.groups,
        *choices.split_column,
        *(dated.reading.columns if dated else ()),
    }
    instants = None if dated is None else dated.instants[table.frame.index]
    return features_of(
        *(table, used, choices, None, remarks),
        text=False,
        counting=lambda names: counters(table, names, groups, instants),
    )


def _times(table: Table, choices: Choices, groups: pd.Series, remarks: list[str]) -> Dates | None:
    """Return the dates that order the events: the time axis, or else the only column of dates; None without one."""
    frame = table.frame
    about = list[str]()
    others = {*choices.targets, *choices.groups, *choices.split_column} - {
        *dated_columns(frame, choices.date)
    }
    written = as_written(table).drop(columns=list(others))

    def axis(date: Any) -> Dates | None:
        return find_axis(
            table.path,
            written,
            date,
            groups=groups if choices.groups else None,
            date_format=choices.date_format,
            dayfirst=choices.dayfirst,
            tz=choices.tz,
            remarks=about,
        )

    found = axis(choices.date)
    if found is None and choices.date is None:
        columns = _dates_out_of_order(written)
        if len(columns) > 1:
            raise DataError(
                f"{table.path}: {' and '.join(map(repr, columns))} hold dates, and it is not clear which orders the "
                f"events: {option('date', columns[0])} says so, {option('date', 'none')} takes the order of rows"
            )
        if columns:
            about.clear()
            found = axis(columns[0])
            about.append(
                f"{columns[0]!r} tells the time of the events, which are put in its order; {option('date', 'none')} "
                "takes the order of rows"
            )
    remarks.extend(about)
    if found is None:
        remarks.append("no column of dates: events follow each other as their rows do")
    return found


def _dates_out_of_order(frame: pd.DataFrame) -> list[str]:
    """Return the columns that hold dates, or whose names say so."""
    found = []
    for name in map(str, frame.columns):
        dates = None if NEVER.search(name) else read_dates(frame, [name])
        if dates is not None and dates.order.distinct > 2 and (not dates.weak or LIKELY.search(name)):
            found.append(name)
    return found


def _note_users(events: OrderedEvents, choices: Choices, remarks: list[str]) -> None:
    """Add remarks on users with one event, events of one time, and rows that repeat."""
    users, times = events.users, events.times
    counts = np.bincount(users)
    if not choices.groups:
        remarks.append(f"all rows are one sequence; {option('group', 'NAME')} names the column of users")
    elif alone := int((counts == 1).sum()):
        remarks.append(
            f"{alone} of {len(counts)} users have one event, before which nothing is known: it is not asked"
        )
    if times is not None and (alike := int(((users[1:] == users[:-1]) & (times[1:] == times[:-1])).sum())):
        remarks.append(
            f"{alike} events have the time of the one before, of the same user; they follow each other as their rows do"
        )
    if copies := _copies(events):
        remarks.append(f"{copies} rows repeat another in all columns; they count as events")


def _copies(events: OrderedEvents) -> int:
    """Return the number of rows that repeat another in all columns."""
    users, times = events.users, events.times
    rows = events.order
    if times is not None:  # copies are of one user and one time
        alike = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
        rows = rows[np.append(alike, False) | np.append(False, alike)]
    table = replace(events.table, frame=events.table.frame.iloc[rows])
    return int(pd.DataFrame({name: table.keys(name) for name in table.frame}).duplicated().sum())
