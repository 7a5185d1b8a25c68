"""The ends of series in new data, as windows from which a model forecasts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from anyformer.dates.reading import DateReading, Dates
from anyformer.errors import DataError
from anyformer.schema import Stream
from anyformer.spelling import option
from anyformer.tables.files import check_exists, read_table
from anyformer.tables.reading import Table
from anyformer.tables.timeaxis import as_written, axis_again
from anyformer.tasks.base import Batch
from anyformer.tasks.encoding import as_tensors, filled
from anyformer.tasks.forecast_encoding import ForecastEncoding
from anyformer.tasks.new_data import Unseen, categories_in, groups_in, named_groups, numbers_in
from anyformer.tasks.series import (
    SeriesRows,
    dated_rows,
    find_step,
    in_order,
    known_rows,
    lies_between,
    on_grid,
    with_calendar,
)
from anyformer.tasks.steps import Series


def ends_of_series(encoding: ForecastEncoding, path: Path) -> Unseen:
    """Return the last window of each series in a file, and what is known of the steps after it.

    Raises:
        DataError: no series can be forecast; one sentence says why.
    """
    layout, remarks = encoding.layout, list[str]()
    table = read_table(path, layout.convention)
    remarks.extend(table.remarks)
    rows = _rows(encoding, table, remarks)
    dated = None
    if layout.step is not None:
        dated = axis_again(path, as_written(table), layout.date, layout.reading, remarks, rows.groups)
    instants = None if dated is None else dated.instants
    covariates = encoding.covariates
    used = {*covariates.ahead, *covariates.static}
    for name in covariates.static:
        changing = rows.frame[name].groupby(rows.groups).nunique() > 1
        if changing.any():
            remarks.append(
                f"{name!r} was the same at all steps of a series in training and changes in {int(changing.sum())} here "
                f"({changing.index[changing][0]!r}, ...): its first value counts"
            )
    unused = [name for name in rows.frame.columns if name not in used]
    past = known_rows(rows, instants, encoding.targets, remarks, unused=unused, trained=True)
    keys, rows, future = rows.groups, rows[past], rows[~past]
    origin = None
    if layout.step is None or dated is None:
        parts = in_order(rows)
    else:
        rows, dates = dated_rows(rows, dated, remarks)
        _check_step(encoding, path, dated, rows.groups)
        origin = dated.values.loc[dates.index].to_numpy().min()
        parts, _ = on_grid(rows, dated, layout.step, origin, remarks)
    lasts = list({part.name: part for part in parts}.values())
    if encoding.future is None:
        ahead = _Ahead(encoding, future, dated, origin)
    else:
        ahead = _Ahead(encoding, *_rows_of_future(encoding, rows, future, remarks), origin)
    ahead.note(lasts, remarks)
    problems = {part.name: _problem(encoding, part) or ahead.problem(part) for part in lasts}
    usable = [part for part in lasts if not problems[part.name]]
    told = [problem for problem in problems.values() if problem]
    if not usable:
        raise DataError(f"{path}: {told[0] if told else 'there are no rows'}")
    remarks += [f"{problem}: left out" for problem in told]
    wanted = [part.name for part in usable for _ in range(encoding.horizon)]
    names = named_groups(table, layout.groups, keys, wanted)
    steps = _steps_ahead(encoding, usable, origin, dated.reading if dated else None)
    batch = _windows(encoding, [ahead.append(part) for part in usable], remarks)
    if beyond := sum(ahead.beyond(part) for part in usable):
        remarks.append(f"{beyond} rows lie more than {encoding.horizon} steps ahead and are left out")
    return Unseen(batch, pd.concat([names, steps], axis=1), remarks, table.style)


def _rows(encoding: ForecastEncoding, table: Table, remarks: list[str]) -> SeriesRows:
    """Return the columns that the model needs."""
    layout, covariates = encoding.layout, encoding.covariates
    numbers = numbers_in(table, [*layout.columns, *covariates.numbers], remarks)
    texts = categories_in(table, encoding.categories, remarks)
    return SeriesRows(
        numbers.join(pd.DataFrame(texts, table.frame.index, dtype=object)),
        groups_in(table, layout.groups, remarks),
        layout.columns,
        covariates.numbers,
        covariates.categories,
        covariates.static,
    )


def _rows_of_future(
    encoding: ForecastEncoding, past: SeriesRows, unused: SeriesRows, remarks: list[str]
) -> tuple[SeriesRows, Dates | None]:
    """Return the rows of the file that the user named for the future, with their dates.

    Raises:
        ValueError: the model reads none.
        DataError: the file cannot be used.
    """
    covariates, layout = encoding.covariates, encoding.layout
    if not covariates.ahead:
        raise ValueError(
            f"{option('future')}: the model knows no column ahead, and reads no rows of the future"
        )
    table = read_table(check_exists(encoding.future or ""), layout.convention)
    remarks.extend(table.remarks)
    if len(unused.frame):
        remarks.append(f"what is known ahead is taken from {table.path.name} alone")
    numbers = numbers_in(table, [name for name in covariates.numbers if name in covariates.ahead], remarks)
    known = [one for one in encoding.categories if one.name in covariates.ahead]
    texts = pd.DataFrame(categories_in(table, known, remarks), table.frame.index, dtype=object)
    groups = groups_in(table, layout.groups, remarks)
    dated = None
    if layout.step is not None:
        dated = axis_again(table.path, as_written(table), layout.date, layout.reading, remarks, groups)
        undated = dated.instants.isna()
        groups = groups.mask(undated)
        if undated.any():
            remarks.append(
                f"{int(undated.sum())} rows of {table.path.name} have no readable date and are left out"
            )
    if others := sorted({*groups.dropna()} - {*past.groups.dropna()}):
        remarks.append(
            f"series of {table.path.name} that the data does not have are left out ({others[0]!r}, ...)"
        )
    frame = numbers.join(texts).reindex(columns=past.frame.columns)
    return replace(past, frame=frame, groups=groups), dated


class _Ahead:
    """The rows after the ends of series.

    Args:
        encoding: of the model.
        rows: those after the last known target of their series.
        dated, origin: the dates of all rows, and that at the start of the grid; None if rows are steps.
    """

    def __init__(
        self, encoding: ForecastEncoding, rows: SeriesRows, dated: Dates | None, origin: np.datetime64 | None
    ) -> None:
        self.encoding, self.rows, self.dated, self.origin = encoding, rows, dated, origin
        self.by_name = dict(rows.by_series())
        self._found: dict[str, pd.DataFrame] = {}

    def problem(self, part: Series) -> str | None:
        """Return why what is known of the steps ahead of a series is not enough; None if it is."""
        found, horizon = self._steps(part), self.encoding.horizon
        there = found.index.intersection(self._places(part))
        for name in self.encoding.covariates.ahead:
            empty = 0 if name in self.encoding.covariates.gaps else int(found.loc[there, name].isna().sum())
            known = len(there) - empty
            if known < horizon:
                of = f"series {part.name!r} has" if part.name else "there are"
                what = " and ".join(map(repr, self.encoding.targets[:2]))
                return (
                    f"{of} {known} rows with {name!r} after the last {what}; the model needs {horizon}, one for each "
                    "step that it forecasts"
                )
        return None

    def note(self, parts: list[Series], remarks: list[str]) -> None:
        """Add remarks on rows of the future that are not read as they stand."""
        step, before, shared, between = self.encoding.layout.step, 0, 0, 0
        for part in parts:
            mine = self.by_name.get(part.name, self.rows.frame.head(0))
            places = self._numbers(part, mine)
            early = places < self._places(part).start
            before += int(early.sum())
            shared += len(places[~early]) - len(np.unique(places[~early]))
            if self.dated is not None and self.origin is not None and step is not None:
                dates = self.dated.values.loc[mine.index].to_numpy()
                between += len(mine) * lies_between(dates, places, step, self.origin)
        if between:
            remarks.append(
                f"{between} rows of the future have dates between the steps that are forecast: each is taken for the "
                f"nearest step of {step}"
            )
        if before:
            remarks.append(
                f"{before} rows of the future are not after the end of their series and are left out"
            )
        if shared:
            remarks.append(
                f"{shared} rows of the future share a step with another: numbers are averaged, the last category counts"
            )

    def beyond(self, part: Series) -> int:
        """Return the number of rows that are later than the horizon."""
        return int((self._steps(part).index >= self._places(part).stop).sum())

    def append(self, part: Series) -> Series:
        """Return the series with the steps ahead, whose values are unknown."""
        encoding, covariates = self.encoding, self.encoding.covariates
        known = self._steps(part).reindex(self._places(part))
        for name in covariates.static:
            place = covariates.numbers.index(name) if name in covariates.numbers else None
            known[name] = part.texts[name][-1] if place is None else part.covariates[-1, place]
        more = self.rows.series(known, 0, part.name)
        whole = replace(
            part,
            values=np.concatenate([part.values, np.full_like(more.values, np.nan)]),
            covariates=np.concatenate([part.covariates, more.covariates]),
            texts={name: np.concatenate([text, more.texts[name]]) for name, text in part.texts.items()},
        )
        if not covariates.calendar:
            return whole
        assert encoding.layout.step is not None and self.origin is not None
        return with_calendar([whole], covariates.calendar, encoding.layout.step, self.origin)[0]

    def _places(self, part: Series) -> range:
        end = part.start + len(part.values)
        return range(end, end + self.encoding.horizon)

    def _steps(self, part: Series) -> pd.DataFrame:
        """Return the rows after the end of a series, by their place on the grid."""
        if part.name not in self._found:
            mine = self.by_name.get(part.name, self.rows.frame.head(0))
            self._found[part.name] = self.rows.at(mine, self._numbers(part, mine)).loc[
                self._places(part).start :
            ]
        return self._found[part.name]

    def _numbers(self, part: Series, mine: pd.DataFrame) -> np.ndarray:
        """Return the place on the grid of each row of a series."""
        step = self.encoding.layout.step
        if self.dated is None or self.origin is None or step is None:
            return self._places(part).start + np.arange(len(mine))
        return step.index(self.dated.values.loc[mine.index].to_numpy(), self.origin)


def _check_step(encoding: ForecastEncoding, path: Path, dated: Dates, groups: pd.Series) -> None:
    layout = encoding.layout
    assert layout.step is not None
    step, regular, _ = find_step(path, dated, groups)
    if regular and not 0.6 < step.roughly() / layout.step.roughly() < 1.6:
        raise DataError(
            f"{path}: dates in {dated.name!r} are {step} apart; the model was trained on steps of {layout.step}"
        )


def _problem(encoding: ForecastEncoding, part: Series) -> str | None:
    """Return why this series cannot be forecast; None if it can."""
    what = f"series {part.name!r}" if part.name else "the series"
    if len(part.values) < encoding.context:
        return f"{what} has {len(part.values)} steps at its end; the model needs {encoding.context}"
    for name in encoding.targets:
        if np.isnan(part.values[:, encoding.layout.columns.index(name)]).all():
            return f"column {name!r} of {what} holds no number"
    return None


def _windows(encoding: ForecastEncoding, wholes: list[Series], remarks: list[str]) -> Batch:
    """Return the last windows of series that end with the steps to be forecast."""
    context, horizon = encoding.context, encoding.horizon
    seen = [whole.values[:-horizon] for whole in wholes]
    values = np.stack([filled(one)[-context:] for one in seen])
    missing = np.stack([np.isnan(one[-context:]) for one in seen])
    if gone := int(missing.sum()):
        marked = " and are marked" if encoding.marks else ", which the model was trained without"
        remarks.append(
            f"{gone} of {missing.size} values of the windows are missing; they repeat the last known one{marked}"
        )
    x, shift, scale, _ = encoding.normalised(values, missing)
    index = [encoding.layout.columns.index(name) for name in encoding.targets]
    unknown = torch.full((len(wholes), horizon, len(index)), torch.nan)
    units = [torch.from_numpy(numbers[..., index]) for numbers in (shift, scale)]
    covariates = np.stack([whole.covariates[-context - horizon :] for whole in wholes])
    read = covariates if encoding.covariates.looks_ahead else covariates[:, :context]
    if gone := int(np.isnan(read).sum()):
        remarks.append(
            f"{gone} of {read.size} numbers beside the windows are missing; they are set to the mean"
            + (" and marked" if encoding.standard is not None and encoding.standard.marks else "")
        )
    codes = {
        one.name: one.encode(np.stack([whole.texts[one.name][-context - horizon :] for whole in wholes]))
        for one in encoding.categories
    }
    inputs, source = encoding.streams(x, covariates, codes)
    past = None if source is None else Stream(as_tensors(source))
    return Batch(as_tensors(inputs), unknown, None, *units, source=past)


def _steps_ahead(
    encoding: ForecastEncoding, parts: list[Series], origin: np.datetime64 | None, reading: DateReading | None
) -> pd.DataFrame:
    """Return the date or number of each step that is forecast."""
    layout, ahead = encoding.layout, np.arange(encoding.horizon)
    if origin is None or reading is None or layout.step is None:
        return pd.DataFrame({"step": np.tile(ahead + 1, len(parts))})
    places = np.array([part.start + len(part.values) + k for part in parts for k in ahead.tolist()])
    return pd.DataFrame(reading.write(layout.step.dates(places, origin)))
