"""Labelled rows, and labelled groups of rows, as tasks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.columns import read_dates
from anyformer.dates.fitting import ways_of
from anyformer.dates.reading import Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import as_texts, is_text
from anyformer.tables.reading import Table
from anyformer.tasks.base import check_integer
from anyformer.tasks.categorycolumns import categories_of
from anyformer.tasks.choices import Choices, fields_of_dates, note_missing, note_ungrouped, reasons
from anyformer.tasks.columns import counters, input_columns
from anyformer.tasks.label_sets import read_targets
from anyformer.tasks.labelled import LabelledTask, check_enough
from anyformer.tasks.ordered_columns import read_in_order
from anyformer.tasks.row_targets import has_target
from anyformer.tasks.sequences import bytes_of, rows_of_groups, tokens_of
from anyformer.tasks.splits import splits_of
from anyformer.tasks.table_encoding import TableEncoding
from anyformer.tokenizers import TextTokenizer


def features_of(
    table: Table,
    used: set[str],
    choices: Choices,
    labels: list[np.ndarray] | None,
    remarks: list[str],
    *,
    text: bool,
    apart: np.ndarray | slice = slice(None),
    counting: Callable[[list[str]], dict[str, str]] = lambda names: {},
) -> tuple[list[str], np.ndarray, dict[str, pd.Categorical]]:
    """Return names and values ``(rows, columns)`` of the numbers, NaN where missing, and texts ``(rows,)`` by category.

    ``labels`` are the targets, None for rows without one; ``counting`` are columns that count the rows of their group,
    with the reason; ``apart`` the rows that are samples of their own.
    """
    categories = list(choices.categories)
    for argument, named in (("category", categories), ("keep", choices.keep)):
        for name in used & {*named}:
            raise DataError(
                f"{option(argument)}: column {name!r} of {table.path} is no input, but a target, group or date"
            )
    names = input_columns(
        *(table, used, choices.keep, remarks),
        labels=labels,
        apart=apart,
        text=text,
        categories=categories,
    )
    gone = counting([name for name in names if name not in choices.keep])
    remarks.extend(f"left out: {name!r}, {why}" for name, why in gone.items())
    names = [name for name in names if name not in gone]
    texts = {name: categories_of(table, name) for name in categories}
    if not names:
        return [], np.empty((len(table.frame), 0)), texts
    values = pd.DataFrame({name: table.numbers(name) for name in names}, copy=False)
    note_missing(values, "they are set to the mean and marked", remarks)
    for name in names:
        low, high = values[name].quantile([0.05, 0.95])
        if low < high and high - low < 1e-6 * values[name].std():
            remarks.append(
                f"{name!r} has values so large (up to {values[name].abs().max():.3g}) that the others look the same "
                f"beside them; {option('drop', name)} leaves it out"
            )
    return names, values.to_numpy(), texts


def _label_order(table: Table, targets: list[str]) -> list[np.ndarray]:
    """Return each target as numbers in the order of rows, NaN where missing, to find columns that give it away."""
    return [_codes(table, name).to_numpy(np.float64) for name in targets]


def _codes(table: Table, target: str) -> pd.Series:
    numbers = table.numbers(target)
    if numbers is not None:
        return numbers
    codes = pd.factorize(table.distinct(target))[0].astype(np.float64)
    return pd.Series(np.where(codes < 0, np.nan, codes), table.frame.index)


def open_rows(table: Table, choices: Choices, dated: Dates | None, remarks: list[str]) -> LabelledTask:
    """Return a task with a sample for each row: the bytes of its text, or a record of its numbers and categories.

    Columns of numbers whose names count up, or that the user says are ordered, are a series instead.
    """
    used = {*choices.targets, *choices.split_column, *(dated.reading.columns if dated else ())}
    if dated is not None:
        remarks.append(f"left out: {dated.name!r}, the date, as each row is a sequence of its own")
    known = has_target(table, choices.targets, choices.kind, remarks)
    table = replace(table, frame=table.frame[known])
    check_enough(table.path.stem, len(table.frame))
    told = read_targets(table, choices.targets, choices.kind, remarks)
    shared: dict[str, Any] = {
        "name": table.path.stem,
        **told.named,
        "values": choices.targets,
        "seed": choices.seed,
        "balanced": choices.class_weights == "balanced",
        "split": splits_of(table, choices.split, remarks) if choices.split else None,
    }
    notes = list[str]()
    named = {*used, *choices.categories}
    text = choices.text or ("text" if _is_written(table, "text", named) else None)
    names, texts = list[str](), dict[str, pd.Categorical]()
    alone = text is None
    if text is None:
        labels = _label_order(table, choices.targets)
        names, values, texts = features_of(table, used, choices, labels, notes, text=True)
        others = {*used, *texts}
        written = any(_is_written(table, str(name), others) for name in table.frame.columns)
        if not names and not choices.categories and (written or not texts):
            said = [note for note in remarks if _tells_of_columns(note)]
            text = _only_text(table, others, said + notes)
    if text is not None:
        if alone:  # say why the other columns are none
            features_of(table, {*used, text}, choices, labels, remarks, text=True)
        return _rows_of_text(table, text, choices, told.y, shared, remarks, alone=alone)
    choices.refuse("columns of numbers", "length", "tokenizer")
    remarks.extend(notes)
    facts = {"rows": len(table.frame), "columns": [*names, *texts]}
    layout = choices.layout(table, kind="columns", columns=names)
    ordered = read_in_order(names, choices.ordered, bool(texts), remarks)
    return LabelledTask(
        values[..., None],
        told.y,
        by_place=not ordered,
        encoding=TableEncoding(layout=layout, ordered=ordered),
        texts={name: as_texts(column) for name, column in texts.items()},
        facts=facts,
        remarks=remarks,
        **shared,
    )


def _rows_of_text(
    table: Table,
    text: str,
    choices: Choices,
    y: np.ndarray,
    shared: dict[str, Any],
    remarks: list[str],
    *,
    alone: bool,
) -> LabelledTask:
    """Return the task of the texts; ``alone`` if no other column is an input, for reasons among the remarks."""
    choices.refuse(f"rows that are read as the text of {text!r}", "keep", "categories", "ordered")
    apart = {text, *choices.targets, *choices.split_column}
    others = [repr(name) for name in table.frame.columns if name not in apart]
    if others:
        instead = "" if alone else f"; {option('drop', text)} reads numbers instead"
        remarks.append(
            f"left out: {', '.join(others)}, as rows are read as the text of {text!r} alone{instead}"
        )
    remarks.extend(table.notes.get(text, []) if table.numbers(text) is None else [])
    if choices.tokenizer is None:
        tokenizer, vocab_size = None, 256
        remarks.append(f"{text!r} is read as the bytes of its text")
        x, mask = bytes_of(table, text, choices.length, remarks)
    else:
        tokenizer = TextTokenizer.load(choices.tokenizer)
        vocab_size = tokenizer.vocab_size
        remarks.append(f"{text!r} is read by the tokenizer, which has {vocab_size:,} tokens")
        x, mask = tokens_of(table, text, tokenizer, choices.length, remarks)
    facts = {"rows": len(table.frame), "text": text}
    layout = choices.layout(table, kind="text", text=text, length=x.shape[1])
    return LabelledTask(
        x,
        y,
        mask=mask,
        vocab_size=vocab_size,
        tokenizer=tokenizer,
        encoding=TableEncoding(layout=layout, tokenizer=tokenizer and tokenizer.json),
        facts=facts,
        remarks=remarks,
        **shared,
    )


def _is_written(table: Table, name: str, used: set[str]) -> bool:
    """True if there is a column of this name that holds texts, neither dates nor row names."""
    if name not in table.frame.columns or name in used:
        return False
    column = table.frame[name].dropna()
    return (
        is_text(column)
        and pd.api.types.infer_dtype(column) == "string"
        and read_dates(table.frame, [name]) is None
        and ways_of(column) is None
        and column.nunique() > 0.2 * len(column)
        and column.str.fullmatch(_TEXT_ID).mean() < 0.95
    )


_TEXT_ID = re.compile(
    r"\s*([A-Za-z]{0,6}[-_# ]?[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-f]{16,})\s*"
)


def _tells_of_columns(note: str) -> bool:
    """True if a remark says why a column is not used."""
    return note.startswith("left out") or "not taken for" in note


def _of_digits(column: pd.Series) -> bool:
    """True if at least half of the characters are digits, as in codes, spans and dates that are not read."""
    characters = column.dropna().astype(str).str.replace(r"\s", "", regex=True)
    return bool(characters.str.count(r"\d").sum() >= 0.5 * characters.str.len().sum())


def _only_text(table: Table, used: set[str], notes: list[str]) -> str:
    """Return the only column of texts; ``DataError`` if there is none, or several."""
    texts = [
        str(name)
        for name in table.frame.columns
        if _is_written(table, str(name), used) and not _of_digits(table.frame[name])
    ]
    if len(texts) == 1:
        return texts[0]
    if texts:
        named = " or ".join(option("text", name) for name in texts[:3])
        raise DataError(
            f"{table.path} has no numeric column besides the target, and {len(texts)} of text: give {named}"
        )
    dated = [(name, ways_of(table.frame[name])) for name in table.frame.columns if name not in used]
    for name, ways in dated:
        if ways:
            notes = [f"{name!r} holds dates written in several ways, {ways}", *notes]
    ahead = any(name in table.frame and table.numbers(name) is not None for name in used)
    raise DataError(
        f"{table.path} has no numeric column besides the target{reasons(notes)}"
        + (f"; {option('kind', 'forecast')} forecasts the rows in their order" if ahead else "")
    )


def open_groups(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> Callable[[], LabelledTask]:
    """Return what makes the task with a sequence for each group, and holds the table no more.

    A sequence is the group's rows, in order of date if there is one.
    """
    columns = dated.reading.columns if dated else ()
    used = {*choices.targets, *choices.groups, *choices.split_column, *columns}
    known = has_target(table, choices.targets, choices.kind, remarks)
    for name in choices.groups:
        remarks.extend(table.of_marks(name))
    note_ungrouped(groups[known], remarks)
    known &= groups.notna()
    order = table.frame.index[known]
    if not known.all():
        table = replace(table, frame=table.frame.loc[order])
    labels = _label_order(table, choices.targets)
    notes = list[str]()
    instants = None if dated is None else dated.instants[order]
    names, values, texts = features_of(
        *(table, used, choices, labels, notes),
        text=False,
        apart=~groups[order].duplicated().to_numpy(),
        counting=lambda names: counters(table, names, groups[order], instants),
    )
    if not names and not texts:
        raise DataError(
            f"{table.path} has no column of numbers or categories besides the target and the group{reasons(notes)}"
        )
    remarks.extend(notes)
    if dated is not None:
        places = np.argsort(dated.instants[order].to_numpy(), kind="stable")
        order, values = order[places], values[places]
        texts = {name: column[places] for name, column in texts.items()}
    codes, different = pd.factorize(groups[order])
    split = splits_of(table, choices.split, remarks, groups[order]) if choices.split else None
    firsts = order[~pd.Series(codes).duplicated().to_numpy()]
    told = read_targets(replace(table, frame=table.frame.loc[firsts]), choices.targets, choices.kind, remarks)
    length = int(choices.length or min(np.bincount(codes).max(), 4096))
    check_integer("length", length, low=1)
    written = {name: as_texts(column) for name, column in texts.items()}
    x, sequences, mask = rows_of_groups(codes, values, written, length, remarks)
    group = choices.groups[0] if len(choices.groups) == 1 else choices.groups
    layout = choices.layout(
        table, kind="groups", columns=names, group=group, length=length, **fields_of_dates(dated)
    )
    facts = {"rows": len(order), "groups": len(different), "columns": [*names, *texts]}
    return partial(
        LabelledTask,
        *(x, told.y),
        mask=mask,
        texts=sequences,
        name=table.path.stem,
        **told.named,
        values=choices.targets,
        split=split,
        encoding=TableEncoding(layout=layout),
        balanced=choices.class_weights == "balanced",
        seed=choices.seed,
        facts=facts,
        remarks=remarks,
    )
