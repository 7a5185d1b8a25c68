"""Tables as tasks: whether one is forecast, or its rows or groups are told, where the user does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import holds_lists, is_text
from anyformer.tables.reading import Table
from anyformer.tables.timeaxis import as_written, dated_columns, find_axis
from anyformer.tasks.base import Task
from anyformer.tasks.choices import Choices, group_keys, reasons
from anyformer.tasks.columns import columns_named
from anyformer.tasks.events import open_events
from anyformer.tasks.label_sets import with_label_sets
from anyformer.tasks.open_series import open_series
from anyformer.tasks.pairfiles import open_pairs
from anyformer.tasks.rows import open_groups, open_rows
from anyformer.tasks.series_splits import moments_in
from anyformer.tasks.splits import splits_of
from anyformer.tasks.text import ByteTask, Document
from anyformer.tasks.token_text import language_model

_OF_TEXTS = ("text", "tokenizer")
"""Options of texts alone."""
_OF_SERIES = ("context", "horizon", "quantiles", "known", "calendar", "reach_back")
"""Options of forecasts alone."""
_LABELS = ("label", "target", "class", "y")


def open_frame(table: Table, given: dict[str, Any]) -> Task | Callable[[], Task]:
    """Return the task made from a table, or what makes it and holds the table no more, as it may be large."""
    path, frame = table.path, table.frame
    if frame.empty:
        raise DataError(f"{path} has columns ({', '.join(frame.columns[:5])}) and no rows")
    choices, table, remarks = _chosen(table, given)
    if choices.kind == "translate":
        return open_pairs(table, choices, remarks)
    dated = None
    about_time = list[str]()
    groups = group_keys(table, choices.groups)
    if choices.kind == "next":
        choices.refuse("tables whose next item is asked", *_OF_SERIES, *_OF_TEXTS, "class_weights", "ordered")
        return open_events(table, choices, groups, remarks)
    choices.refuse(
        "other tables", "holdout", "only_new", instead=f"{option('kind', 'next')} asks for the next item"
    )
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
            *(*_OF_TEXTS, "length", "class_weights", "ordered"),
            instead=f"{kinds} predicts rows or groups",
        )
        if choices.kind is None:
            remarks.append(f"a table with dates is forecast; give {kinds} to predict each row")
        return open_series(table, choices, groups, dated, remarks)
    if choices.split is not None:
        columns_named(table, [choices.split], "split")
    ahead = f"{option('kind', 'forecast')} forecasts them in their order"
    choices.refuse("rows that are classified or regressed", *_OF_SERIES, instead=ahead)
    if not choices.targets:
        choices, alone = _guess_target(table, choices, remarks, about_time)
        if alone is not None:
            return _open_texts(table, alone, choices, remarks)
    if choices.groups:
        choices.refuse("groups of rows", *_OF_TEXTS, "ordered")
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
    dropped = columns_named(table, given.pop("drop"), "drop")
    remarks = list(table.remarks)
    table, targets, given["kind"] = with_label_sets(
        table, columns_named(table, given.pop("target"), "target"), given["kind"], remarks
    )
    frame = table.frame
    choices = Choices(
        targets=targets,
        groups=columns_named(table, given.pop("group"), "group"),
        keep=columns_named(table, given.pop("keep"), "keep"),
        categories=columns_named(table, given.pop("category"), "category"),
        known=columns_named(table, given.pop("known"), "known"),
        **given,
    )
    for argument, name in (("text", choices.text), ("split", choices.split)):
        forecast = choices.kind in (None, "forecast") and argument == "split"
        if name is not None and not (forecast and moments_in(name)):
            columns_named(table, [name], argument)
    asked = {
        *choices.targets,
        *choices.groups,
        *dated_columns(frame, choices.date),
        choices.text,
        choices.split,
        *choices.keep,
        *choices.categories,
        *choices.known,
    }
    for name in dropped:
        if name in asked:
            raise ValueError(f"{option('drop')} leaves out {name!r}, which is asked for elsewhere")
    if dropped:
        remarks.append(f"left out: {', '.join(map(repr, dropped))}, as was asked")
    table = replace(table, frame=frame.drop(columns=dropped))
    return choices, _single_values(table, choices, asked, remarks), remarks


def _single_values(table: Table, choices: Choices, asked: set[str | None], remarks: list[str]) -> Table:
    """Return the table without columns of lists or objects; ``DataError`` if one of them was asked for."""
    frame = table.frame
    for name in [name for name in frame.columns if holds_lists(frame[name])]:
        if name in asked or (not choices.targets and name.lower() in _LABELS):
            labels = f"; {option('kind', 'labels')} takes lists for labels" if name in choices.targets else ""
            raise DataError(
                f"{table.path}: column {name!r} holds lists or objects; a single value a row is needed{labels}"
            )
        remarks.append(f"left out: {name!r}, which holds lists or objects")
        frame = frame.drop(columns=name)
    return replace(table, frame=frame)


def _constant_in_groups(table: Table, choices: Choices, groups: pd.Series) -> bool:
    if not choices.targets:
        return False
    codes = pd.factorize(groups)[0]
    count = int(codes.max(initial=-1)) + 1
    for name in choices.targets:
        values = table.distinct(name).cat.codes.to_numpy().astype(np.int64)
        known = (codes >= 0) & (values >= 0)
        least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        np.minimum.at(least, codes[known], values[known])
        np.maximum.at(most, codes[known], values[known])
        if (least < most).any():
            return False
    return count < len(table.frame)


def _guess_target(
    table: Table, choices: Choices, remarks: list[str], about_time: list[str]
) -> tuple[Choices, str | None]:
    """Return the choices with a target of a usual name, or the column of text if there is nothing else.

    Raises:
        DataError: neither is there; the sentence says why the table is not forecast.
    """
    frame = table.frame.drop(columns=choices.split_column)
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
        + (
            f"; {option('kind', 'translate')} writes the texts of one from those of another"
            if len(texts) > 1
            else ""
        )
        + reasons(about_time)
    )


def _open_texts(table: Table, name: str, choices: Choices, remarks: list[str]) -> ByteTask:
    choices.refuse("text without a label", "groups", "keep", "categories", "date", "class_weights", "ordered")
    others = [repr(other) for other in table.frame.columns if other not in (name, choices.split)]
    if others:
        remarks.append(
            f"left out: {', '.join(others)}, as the text of {name!r} alone is modelled; {option('target', 'NAME')} "
            "names a column to predict"
        )
    column = table.frame[name]
    documents = [Document(f"record {i}", str(text).encode()) for i, text in column.dropna().items()]
    if column.isna().any():
        remarks.append(f"{int(column.isna().sum())} rows have no {name!r} and are left out")
    split = None
    if choices.split is not None:
        table = replace(table, frame=table.frame[column.notna()])
        split = splits_of(table, choices.split, remarks).tolist()
    return language_model(
        documents,
        choices.tokenizer,
        name=table.path.stem,
        what=table.path.name,
        length=choices.length,
        split=split,
        seed=choices.seed,
        remarks=remarks,
    )
