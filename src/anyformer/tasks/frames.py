"""Tables as tasks: whether one is forecast, classified or regressed, where the user does not say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.reading import Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import is_text
from anyformer.tables.reading import Table
from anyformer.tables.timeaxis import as_written, dated_columns, find_axis
from anyformer.tasks.base import Task
from anyformer.tasks.categorycolumns import has_one_label_each
from anyformer.tasks.choices import (
    Choices,
    fields_of_dates,
    group_keys,
    note_missing,
    note_ungrouped,
    reasons,
)
from anyformer.tasks.columns import columns_named, counters, holds_lists, input_columns
from anyformer.tasks.events import open_events
from anyformer.tasks.forecasting import ForecastTask, Series
from anyformer.tasks.rows import open_groups, open_rows
from anyformer.tasks.series import check_repeats, dated_rows, find_step, known_rows, on_grid
from anyformer.tasks.text import ByteTask, Document

_LABELS = ("label", "target", "class", "y")


def open_frame(table: Table, given: dict[str, Any]) -> Task:
    """Return the task made from a table and the user's options."""
    path, frame = table.path, table.frame
    if frame.empty:
        raise DataError(f"{path} has columns ({', '.join(frame.columns[:5])}) and no rows")
    choices, table, remarks = _chosen(table, given)
    dated = None
    about_time = list[str]()
    groups = group_keys(table, choices.groups)
    if choices.kind == "next":
        choices.refuse(
            "tables whose next item is asked", "context", "horizon", "quantiles", "text", "class_weights"
        )
        return open_events(table, choices, groups, remarks)
    choices.refuse("other tables", "holdout", instead=f"{option('kind', 'next')} asks for the next item")
    if choices.date is not None or choices.kind in (None, "forecast"):
        dated = find_axis(
            path,
            as_written(table).drop(
                columns=list({*choices.targets, *choices.groups} - {*dated_columns(frame, choices.date)})
            ),
            choices.date,
            groups=groups if choices.groups else None,
            date_format=choices.date_format,
            dayfirst=choices.dayfirst,
            tz=choices.tz,
            remarks=about_time,
        )
        remarks.extend(about_time)
    by_group = bool(choices.groups) and _constant_in_groups(table, choices, groups)
    if choices.kind == "forecast" or (choices.kind is None and dated is not None and not by_group):
        kinds = f"{option('kind', 'classify')} or {option('kind', 'regress')}"
        choices.refuse(
            "forecasts",
            *("text", "length", "categories", "split", "class_weights"),
            instead=f"{kinds} predicts rows or groups",
        )
        if choices.kind is None:
            remarks.append(f"a table with dates is forecast; give {kinds} to predict each row")
        return _open_series(table, choices, groups, dated, remarks)
    choices.refuse(
        "rows that are classified or regressed",
        *("context", "horizon", "quantiles"),
        instead=f"{option('kind', 'forecast')} forecasts them in their order",
    )
    if not choices.targets:
        choices, alone = _guess_target(table, choices, remarks, about_time)
        if alone is not None:
            return _open_texts(table, alone, choices, remarks)
    if choices.groups:
        choices.refuse("groups of rows", "text")
        if not _constant_in_groups(table, choices, groups):
            raise DataError(
                f"{path}: {choices.targets[0]!r} changes within groups of {', '.join(map(repr, choices.groups))}; "
                f"a label must be the same in all rows of a group; {option('kind', 'next')} asks for the next one, and "
                f"{option('kind', 'forecast')} forecasts numbers"
            )
        return open_groups(table, choices, groups, dated, remarks)
    return open_rows(table, choices, dated, remarks)


def _chosen(table: Table, given: dict[str, Any]) -> tuple[Choices, Table, list[str]]:
    """Return the user's options as columns, the table without dropped columns and lists, and first remarks."""
    frame = table.frame
    dropped = columns_named(table, given.pop("drop"), "drop")
    choices = Choices(
        targets=columns_named(table, given.pop("target"), "target"),
        groups=columns_named(table, given.pop("group"), "group"),
        keep=columns_named(table, given.pop("keep"), "keep"),
        categories=columns_named(table, given.pop("category"), "category"),
        **given,
    )
    for argument, name in (("text", choices.text), ("split", choices.split)):
        if name is not None:
            columns_named(table, [name], argument)
    asked = {
        *choices.targets,
        *choices.groups,
        *dated_columns(frame, choices.date),
        choices.text,
        choices.split,
        *choices.keep,
        *choices.categories,
    }
    for name in dropped:
        if name in asked:
            raise ValueError(f"{option('drop')} leaves out {name!r}, which is asked for elsewhere")
    remarks = list(table.remarks)
    if dropped:
        remarks.append(f"left out: {', '.join(map(repr, dropped))}, as was asked")
    table = replace(table, frame=frame.drop(columns=dropped))
    return choices, _single_values(table, choices, asked, remarks), remarks


def _single_values(table: Table, choices: Choices, asked: set[str | None], remarks: list[str]) -> Table:
    """Return the table without columns of lists or objects; ``DataError`` if one of them was asked for."""
    frame = table.frame
    for name in [name for name in frame.columns if holds_lists(frame[name])]:
        if name in asked or (not choices.targets and name.lower() in _LABELS):
            raise DataError(
                f"{table.path}: column {name!r} holds lists or objects; a single value a row is needed"
            )
        remarks.append(f"left out: {name!r}, which holds lists or objects")
        frame = frame.drop(columns=name)
    return replace(table, frame=frame)


def _constant_in_groups(table: Table, choices: Choices, groups: pd.Series) -> bool:
    if not choices.targets:
        return False
    targets = pd.DataFrame({name: table.keys(name) for name in choices.targets})
    different = targets.groupby(groups)[choices.targets].nunique()
    return bool((different <= 1).all().all()) and len(different) < len(table.frame)


def _guess_target(
    table: Table, choices: Choices, remarks: list[str], about_time: list[str]
) -> tuple[Choices, str | None]:
    """Return the choices with a target of a usual name, or the column of text if there is nothing else.

    Raises:
        DataError: neither is there; the sentence says why the table is not forecast.
    """
    frame = table.frame
    for name in frame.columns:
        if name.lower() in _LABELS:
            remarks.append(f"target not given: taken to be {name!r}")
            return replace(choices, targets=[name]), None
    texts = [name for name in frame.columns if is_text(frame[name])]
    if choices.text is not None or len(texts) == 1 == len(frame.columns) or "text" in frame.columns:
        return choices, choices.text or ("text" if "text" in frame.columns else texts[0])
    series = any(table.numbers(name) is not None for name in frame.columns)
    raise DataError(
        f"{table.path}: {option('target')} must name the column to predict, one of "
        f"{', '.join(map(repr, frame.columns))}"
        + (f"; {option('kind', 'forecast')} forecasts the rows in their order" if series else "")
        + reasons(about_time)
    )


def _open_texts(table: Table, name: str, choices: Choices, remarks: list[str]) -> ByteTask:
    choices.refuse("text without a label", "groups", "keep", "categories", "date", "split", "class_weights")
    others = [repr(other) for other in table.frame.columns if other != name]
    if others:
        remarks.append(
            f"left out: {', '.join(others)}, as the text of {name!r} alone is modelled; {option('target', 'NAME')} "
            "names a column to predict"
        )
    column = table.frame[name]
    documents = [Document(f"record {i}", str(text).encode()) for i, text in column.dropna().items()]
    if column.isna().any():
        remarks.append(f"{int(column.isna().sum())} rows have no {name!r} and are left out")
    title = f"Predict the next byte of {table.path.name}."
    return ByteTask(
        documents,
        name=table.path.stem,
        title=title,
        length=choices.length,
        seed=choices.seed,
        remarks=remarks,
    )


# ------------------------------------------------------------------------------------------------- series


def _open_series(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> ForecastTask:
    path = table.path
    numbers, targets = _numbers_of_series(table, choices, groups, dated, remarks)
    columns = [str(name) for name in numbers.columns]
    numbers = numbers[
        known_rows(numbers, None if dated is None else dated.instants, groups, targets, remarks)
    ]
    note_missing(
        numbers,
        "as input they repeat the last known value and are marked, as targets they do not count",
        remarks,
    )
    groups = groups[numbers.index]
    if dated is None:
        remarks.append("no column of dates: rows are taken in order, one step each")
        note_ungrouped(groups, remarks)
        parts = [Series(numbers[groups == g].to_numpy(), 0, str(g)) for g in groups.dropna().unique()]
        facts: dict[str, Any] = {"rows": len(table.frame), "step": "1 row"}
        seasons = list(range(2, min(400, len(numbers) // 3)))
        step = None
    else:
        numbers, dates, groups = dated_rows(numbers, dated, groups, remarks)
        check_repeats(path, table.frame.loc[numbers.index], dates, groups, dated, choices.groups)
        step, regular, dated = find_step(path, dated, groups)
        if not regular:
            remarks.append(f"dates in {dated.name!r} are irregular: values are averaged over steps of {step}")
        parts, facts = on_grid(numbers, dated, groups, step, remarks)
        facts["rows"] = len(table.frame)
        seasons = step.seasons() or list(range(2, 25))
    group = choices.groups[0] if len(choices.groups) == 1 else choices.groups or None
    layout = choices.layout(
        table, kind="series", columns=columns, group=group, step=step, **fields_of_dates(dated)
    )
    return ForecastTask(
        parts,
        columns,
        targets,
        name=path.stem,
        context=choices.context,
        horizon=choices.horizon,
        quantiles=choices.quantiles,
        seasons=seasons,
        layout=layout,
        seed=choices.seed,
        facts={**facts, "series": len({part.name for part in parts})},
        remarks=remarks,
    )


def _numbers_of_series(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns of numbers, and those of them that are forecast."""
    used = {*choices.groups, *(dated.reading.columns if dated else ())}
    for name in choices.targets:
        _check_target(table, name, used)
    for name in choices.groups:
        remarks.extend(table.of_marks(name))
    notes = list[str]()
    asked = [*choices.keep, *choices.targets]
    columns = input_columns(table, used, asked, notes)
    if not columns:
        raise DataError(f"{table.path} has no numeric column to forecast{reasons(notes)}")
    remarks.extend(notes)
    instants = None if dated is None else dated.instants
    counting = counters(table, [name for name in columns if name not in asked], groups, instants)
    if len(counting) < len(columns):
        remarks.extend(f"left out: {name!r}, {why}" for name, why in counting.items())
        columns = [name for name in columns if name not in counting]
    numbers = pd.DataFrame({name: table.numbers(name) for name in columns})
    if choices.targets:
        return numbers, choices.targets
    targets = _varied(numbers, remarks)
    if not targets:
        raise DataError(f"{table.path}: no numeric column changes: nothing to forecast{reasons(notes)}")
    ending = _ending(numbers[targets], groups, instants, remarks)
    if not ending:
        remarks.append(f"target not given: all {len(targets)} numeric columns are forecast")
    return numbers, ending or targets


def _ending(
    numbers: pd.DataFrame, groups: pd.Series, instants: pd.Series | None, remarks: list[str]
) -> list[str]:
    """Return the columns to forecast, if they end before others, which are known ahead; otherwise none."""
    order = pd.Series(np.arange(len(numbers)), numbers.index) if instants is None else instants
    left = order.groupby(groups).rank(method="first", ascending=False)
    tails = {
        name: (left.where(known).groupby(groups).min() - 1).fillna(len(left)).astype(int)
        for name, known in numbers.notna().items()
    }
    behind = {str(name): int(tail.min()) for name, tail in tails.items()}
    ending = [name for name, rows in behind.items() if rows > 0]
    if not ending or len(ending) == len(behind):
        return []
    listed, others = ", ".join(map(repr, ending)), [name for name in behind if name not in ending]
    alike = all(tails[name].equals(tails[ending[0]]) for name in ending)
    if alike and behind[ending[0]] > 1:
        every = option("target", list(behind))
        remarks.append(
            f"target not given: {listed} {'is' if len(ending) == 1 else 'are'} forecast, without values in the last "
            f"rows, where {', '.join(map(repr, others))} have some; {every} forecasts all, from the last row on"
        )
        return ending
    for name in ending:
        remarks.append(
            f"{name!r} has no values in the last {behind[name]} rows, where others have: forecasts begin after the "
            f"last row; {option('target', name)} forecasts it from where it ends"
        )
    return []


def _check_target(table: Table, name: str, used: set[str]) -> None:
    """Raise ``DataError`` if a column cannot be forecast."""
    what = f"{option('target')}: column {name!r} of {table.path}"
    if name in used:
        raise DataError(f"{what} is also the date or group")
    values = table.numbers(name)
    if values is None:
        why = table.refusals.get(name) or f"is not numeric (it holds {table.shown(name)})"
        labels = pd.factorize(table.keys(name))[0].astype(np.float64)
        labels[labels < 0] = np.nan
        groups = [
            option("group", other)
            for other in table.frame.columns
            if other not in {name, *used} and has_one_label_each(table.keys(other), labels)
        ]
        instead = f", or {groups[0]} to classify groups of rows, which have one label each" if groups else ""
        raise DataError(
            f"{what} {why}; a forecast needs numbers: give {option('kind', 'classify')} to classify rows{instead}"
        )
    if values.isna().all():
        raise DataError(f"{what} holds no number at all{reasons(table.notes.get(name, []))}")
    if values.nunique() == 1:
        raise DataError(f"{what} is {values.dropna().iloc[0]:.15g} in all rows: nothing to forecast")


def _varied(numbers: pd.DataFrame, remarks: list[str]) -> list[str]:
    """Return the columns whose numbers change."""
    same = [str(name) for name in numbers.columns if numbers[name].nunique() < 2]
    if same:
        remarks.append(f"{', '.join(map(repr, same))} never change and are not forecast")
    return [str(name) for name in numbers.columns if name not in same]
