"""Tables of series as tasks of forecasting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anyformer.dates.calendar import Step
from anyformer.dates.reading import DateReading, Dates
from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.reading import Table
from anyformer.tasks.calendar_features import fitting_features
from anyformer.tasks.choices import Choices, fields_of_dates, note_missing, note_ungrouped
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.series import (
    SeriesRows,
    check_repeats,
    dated_rows,
    find_step,
    in_order,
    known_rows,
    on_grid,
    with_calendar,
)
from anyformer.tasks.series_columns import columns_of_series
from anyformer.tasks.series_splits import BORDERS, borders_as_given
from anyformer.tasks.steps import Series


def open_series(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> ForecastTask:
    """Return the task of forecasting the series in a table."""
    groups = groups.astype("str")
    found = columns_of_series(table, choices, groups, dated, remarks)
    covariates, targets = found.covariates, found.targets
    instants = None if dated is None else dated.instants
    unused = [
        name for name in found.frame.columns if name not in {*covariates.ahead, *covariates.static, *targets}
    ]
    rows = SeriesRows(
        found.frame, groups, found.numbers, covariates.numbers, covariates.categories, covariates.static
    )
    rows = rows[known_rows(rows, instants, targets, remarks, unused=unused, trained=False)]
    _note_gaps(rows, remarks)
    gaps = [name for name in covariates.ahead if rows.frame[name].isna().any()]
    laid = _lay_out(table, choices, rows, dated, remarks)
    step, parts, dated = laid.step, laid.parts, laid.dated
    borders = None
    if choices.split is not None:
        borders = borders_as_given(choices.split, table, laid.places, laid.grid, remarks)
    features = list[str]()
    if choices.calendar:
        if step is None:
            raise ValueError(f"{option('calendar')} needs a column of dates, and {table.path} has none")
        features = _features(step, parts, remarks, borders)
        assert dated is not None
        if dated.values.equals(dated.instants) and not dated.clock.equals(dated.instants):
            remarks.append("hours and days of the calendar are those of UTC, in which the steps are regular")
        assert laid.grid is not None
        parts = with_calendar(parts, features, step, laid.grid[1])
    group = choices.groups[0] if len(choices.groups) == 1 else choices.groups or None
    layout = choices.layout(
        table, kind="series", columns=found.numbers, group=group, step=step, **fields_of_dates(dated)
    )
    return ForecastTask(
        parts,
        found.numbers,
        targets,
        name=table.path.stem,
        covariates=covariates.model_copy(update={"gaps": gaps, "calendar": features}),
        context=choices.context,
        horizon=choices.horizon,
        quantiles=choices.quantiles,
        reach_back=choices.reach_back,
        borders=borders,
        seasons=laid.seasons,
        layout=layout,
        seed=choices.seed,
        facts={**laid.facts, "rows": len(table.frame), "series": len({part.name for part in parts})},
        remarks=remarks,
    )


@dataclass(frozen=True)
class _Laid:
    """Rows as series, one step a row or on a regular grid.

    Attributes:
        parts: the series, or parts of them.
        facts: about their steps, for the report.
        seasons: lengths that a season may have.
        places: the index of each row.
        step, grid: of dates: see :func:`anyformer.tasks.series_splits.borders_as_given`; None without dates.
        dated: the dates in the clock in which their steps are regular.
    """

    parts: list[Series]
    facts: dict[str, Any]
    seasons: list[int]
    places: pd.Series
    step: Step | None = None
    grid: tuple[Step, np.datetime64, DateReading] | None = None
    dated: Dates | None = None


def _lay_out(
    table: Table, choices: Choices, rows: SeriesRows, dated: Dates | None, remarks: list[str]
) -> _Laid:
    if dated is None:
        remarks.append("no column of dates: rows are taken in order, one step each")
        note_ungrouped(rows.groups, remarks)
        seasons = list(range(2, min(400, len(rows.frame) // 3)))
        return _Laid(in_order(rows), {"step": "1 row"}, seasons, rows.frame.groupby(rows.groups).cumcount())
    rows, dates = dated_rows(rows, dated, remarks)
    check_repeats(table.path, table.frame.loc[dates.index], dates, rows.groups, dated, choices.groups)
    step, regular, dated = find_step(table.path, dated, rows.groups)
    if not regular:
        remarks.append(f"dates in {dated.name!r} are irregular: values are averaged over steps of {step}")
    clock = dated.values.loc[dates.index].to_numpy()
    origin = clock.min()
    parts, facts = on_grid(rows, dated, step, origin, remarks)
    places = pd.Series(step.index(clock, origin), dates.index)
    seasons = step.seasons() or list(range(2, 25))
    return _Laid(parts, facts, seasons, places, step, (step, origin, dated.reading), dated)


def _note_gaps(rows: SeriesRows, remarks: list[str]) -> None:
    """Say what becomes of missing values."""
    known = "as input they repeat the last known value and are marked, as targets they do not count"
    mean = [name for name in rows.fixed if name not in rows.static]
    note_missing(rows.frame[rows.numbers], known, remarks)
    note_missing(rows.frame[mean], "they are set to the mean and marked", remarks)
    note_missing(rows.frame[rows.static], "they get the value that their series has elsewhere", remarks)


def _features(step: Step, parts: list[Series], remarks: list[str], borders: list[int] | None) -> list[str]:
    """Return the features of dates that fit the step, and of which the training part sees a whole period."""
    last = max(part.start + len(part.values) for part in parts)
    fitting = fitting_features(step, (BORDERS[0] * last if borders is None else borders[0]) * step.roughly())
    possible = fitting_features(step, float("inf"))
    if not fitting:
        raise DataError(
            f"{option('calendar')}: no hour of the day, day of the week or day of the year can be learnt from "
            f"{last} steps of {step}"
        )
    short = [name for name in possible if name not in fitting]
    remarks.append(
        f"known ahead of the dates: {', '.join(fitting)}"
        + (f"; left out: {', '.join(short)}, as the training part is shorter than a period" if short else "")
    )
    return fitting
