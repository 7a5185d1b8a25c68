"""The columns of a table of series: which are forecast, which each window normalises, and which are covariates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from anyformer.dates.reading import Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.reading import Table
from anyformer.tasks.categorycolumns import has_one_label_each, texts_of
from anyformer.tasks.choices import Choices, reasons
from anyformer.tasks.columns import counters, input_columns
from anyformer.tasks.covariates import Covariates


@dataclass(frozen=True)
class SeriesColumns:
    """The columns of a table of series.

    Attributes:
        frame: all of them: numbers, NaN where missing, and texts of categories, None where missing.
        numbers: names of the numbers that each window normalises.
        targets: which of them are forecast.
        covariates: the other columns, by their roles.
    """

    frame: pd.DataFrame
    numbers: list[str]
    targets: list[str]
    covariates: Covariates


def columns_of_series(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> SeriesColumns:
    """Return the columns with their roles.

    Raises:
        DataError: a column cannot have its role, or there is nothing to forecast.
        ValueError: the user's options contradict each other.
    """
    dates = dated.reading.columns if dated else []
    used = {*choices.groups, *dates, *choices.split_column}
    for name in choices.targets:
        _check_target(table, name, used)
    _check_known(table, choices, dates)
    for name in {*choices.categories} & {*choices.targets, *dates}:
        raise DataError(
            f"{option('category')}: column {name!r} of {table.path} is no input, but a target or date"
        )
    for name in choices.groups:
        remarks.extend(table.of_marks(name))
    notes = list[str]()
    categories = [name for name in choices.categories if name not in choices.groups]
    words = [name for name in choices.known if table.numbers(name) is None and name not in categories]
    asked = [
        *choices.keep,
        *choices.targets,
        *(name for name in choices.known if name not in {*categories, *words}),
    ]
    categories += words
    columns = input_columns(table, used, asked, notes, categories=categories)
    if not columns:
        raise DataError(f"{table.path} has no numeric column to forecast{reasons(notes)}")
    remarks.extend(notes)
    instants = None if dated is None else dated.instants
    counting = counters(table, [name for name in columns if name not in asked], groups, instants)
    if len(counting) < len(columns):
        remarks.extend(f"left out: {name!r}, {why}" for name, why in counting.items())
        columns = [name for name in columns if name not in counting]
    categories += [name for name in choices.groups if name in choices.categories]
    numbers = pd.DataFrame({name: table.numbers(name) for name in columns})
    texts = pd.DataFrame(
        {name: texts_of(table, name) for name in categories}, table.frame.index, dtype=object
    )
    named = [*choices.targets, *choices.known]  # what is known ahead may change there
    static = _static(
        numbers.drop(columns=named, errors="ignore"),
        texts.drop(columns=named, errors="ignore"),
        groups,
        remarks,
    )
    fixed = [name for name in columns if name in {*static, *choices.known}]
    covariates = Covariates(
        numbers=fixed,
        categories=categories,
        ahead=choices.known,
        static=static,
    )
    _note_series(choices, groups, remarks)
    windowed = [name for name in columns if name not in fixed]
    targets = choices.targets or _targets(table, numbers[windowed], groups, instants, notes, remarks)
    return SeriesColumns(numbers.join(texts), windowed, targets, covariates)


def _check_known(table: Table, choices: Choices, dates: list[str]) -> None:
    """Raise ``ValueError`` if a column known ahead has another role, ``DataError`` if it is empty."""
    for name in choices.known:
        if table.frame[name].isna().all():
            raise DataError(f"{option('known')}: column {name!r} of {table.path} is without any value")
        what = f"{option('known')}: {name!r}"
        if name in choices.targets:
            raise ValueError(f"{what} is also the {option('target')}, which is not known ahead")
        if name in choices.groups:
            raise ValueError(
                f"{what} tells the series apart, and is known anyway; {option('category', name)} makes it an input"
            )
        if name in dates:
            raise ValueError(f"{what} is the date; {option('calendar', True)} makes features of dates inputs")


def _static(numbers: pd.DataFrame, texts: pd.DataFrame, groups: pd.Series, remarks: list[str]) -> list[str]:
    """Return the columns whose values are the same in all rows of each series, and differ between series."""
    if groups.nunique() < 2:
        return []
    found = []
    for frame in (numbers, texts):
        alike = (frame.groupby(groups).nunique() <= 1).all()
        found += [str(name) for name in frame.columns if alike[name] and frame[name].nunique() > 1]
    if found:
        verb = "is" if len(found) == 1 else "are"
        remarks.append(
            f"{', '.join(map(repr, found))} {verb} the same at all steps of each series, and so known ahead"
        )
    return found


def _note_series(choices: Choices, groups: pd.Series, remarks: list[str]) -> None:
    """Remark that a model of several series is not told which one it reads."""
    several = groups.nunique()
    if several > 1 and not {*choices.groups} & {*choices.categories}:
        remarks.append(
            f"one model forecasts all {several} series and is not told which it reads: "
            f"{option('category', choices.groups if len(choices.groups) > 1 else choices.groups[0])} tells it"
        )


def _targets(
    table: Table,
    numbers: pd.DataFrame,
    groups: pd.Series,
    instants: pd.Series | None,
    notes: list[str],
    remarks: list[str],
) -> list[str]:
    """Return the columns to forecast where none is named: all that change, or those that end before the others."""
    targets = _varied(numbers, remarks)
    if not targets:
        raise DataError(f"{table.path}: no numeric column changes: nothing to forecast{reasons(notes)}")
    ending = _ending(numbers[targets], groups, instants, remarks)
    if not ending:
        remarks.append(f"target not given: all {len(targets)} numeric columns are forecast")
    return ending or targets


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
