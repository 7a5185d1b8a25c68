"""The encoding of windows of series as inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anyformer.dates.reading import DateReading, Dates
from anyformer.errors import DataError
from anyformer.questions import quantiles_of
from anyformer.schema import NUMBERS, Field, InputFacts, SeriesWindow, Stream, StreamFacts
from anyformer.spelling import option
from anyformer.tables.files import check_exists, read_table
from anyformer.tables.reading import Table
from anyformer.tables.timeaxis import as_written, axis_again
from anyformer.tables.writing import significant
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import Category
from anyformer.tasks.covariates import Covariates
from anyformer.tasks.encoding import DataLayout, Encoding, Inputs, Standard, as_tensors, filled
from anyformer.tasks.new_data import Unseen, beside, categories_in, groups_in, named_groups, numbers_in
from anyformer.tasks.rows_ahead import RowsAhead
from anyformer.tasks.series import SeriesRows, dated_rows, find_step, in_order, known_rows, on_grid
from anyformer.tasks.steps import Series

COVARIATES = "(covariates)"
"""The field of numbers on the same scale everywhere, side by side."""


class ForecastEncoding(Encoding):
    """The encoding of windows of a series, each normalised by its own mean and deviation.

    Without covariates the inputs are the context as numbers ``(B, context, M)``; with some, as fields. Where some are
    known ahead, that is the source, and the inputs are the steps of the horizon, with the fields that are known of
    them.

    Attributes:
        layout: its ``columns`` are the numbers that windows normalise.
        targets: which of these are forecast.
        context, horizon: lengths in steps.
        floor: smallest divisor of each column of a window.
        marks: add a channel for each column that marks missing values.
        levels: of the quantiles that are forecast; none where values are.
        covariates: the other columns.
        standard: encodes the numbers among them, calendar features last.
        categories: encode the categories among them.
        future: a file with the rows after the end of the data, where predictions find them in a file of their own.
    """

    continues = True
    options = ("future",)
    kind: Literal["forecast"] = "forecast"
    layout: DataLayout
    targets: list[str]
    context: int
    horizon: int
    floor: list[float]
    marks: bool
    levels: list[float] = []
    covariates: Covariates = Covariates()
    standard: Standard | None = None
    categories: list[Category] = []
    future: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of what is forecast at each step: the targets, or each quantile of the first, the second, ..."""
        if not self.levels:
            return self.targets
        return [f"{target}_q{level}" for target in self.targets for level in self.levels]

    def normalised(
        self, values: np.ndarray, missing: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return windows as inputs of a model, and the shift and scale that undo it.

        Args:
            values: ``(B, T, M)``, filled where unknown, NaN before the first known value.
            missing: ``(B, T, M)`` bool, True where it was filled or is NaN.

        Returns:
            x ``(B, T, M)`` or, with marks, ``(B, T, 2 M)``; shift and scale ``(B, 1, M)``; and ``(B, 1, M)``
            bool, True if any value of the column was known.
        """
        counts = np.where(missing.all(1, keepdims=True), ~np.isnan(values), ~missing)
        weight = np.maximum(counts.sum(1, keepdims=True), 1)
        shift = np.where(counts, values, 0).sum(1, keepdims=True) / weight
        scale = np.sqrt(np.square(np.where(counts, values - shift, 0)).sum(1, keepdims=True) / weight)
        scale = np.maximum(scale, self.floor)
        x = np.nan_to_num((values - shift) / scale)
        x = np.concatenate([x, missing], -1) if self.marks else x
        return x, shift, scale, np.any(counts, 1, keepdims=True)

    def streams(
        self, x: np.ndarray, covariates: np.ndarray, codes: Mapping[str, np.ndarray]
    ) -> tuple[Inputs, Inputs | None]:
        """Return a model's inputs and its source, None without one.

        Args:
            x: of :meth:`normalised`.
            covariates: ``(B, context + horizon, K)``, NaN where unknown.
            codes: by category ``(B, context + horizon)``.
        """
        if not self.covariates.columns and not self.covariates.calendar:
            return x, None
        fields = dict(codes)
        if self.standard is not None:
            fields[self._name(COVARIATES)] = self.standard.encode(covariates)
        past = {self._name(NUMBERS): x, **{name: value[:, : self.context] for name, value in fields.items()}}
        if not self.covariates.looks_ahead:
            return past, None
        return {name: fields[name][:, self.context :] for name in self._names_ahead()}, past

    def windows(
        self,
        values: np.ndarray,
        missing: np.ndarray,
        covariates: np.ndarray,
        codes: Mapping[str, np.ndarray],
    ) -> tuple[Batch, np.ndarray]:
        """Return windows as a batch with unknown targets, and ``(B, 1, targets)`` bool, True if any value was known.

        Args:
            values, missing: as for :meth:`normalised`.
            covariates, codes: as for :meth:`streams`.
        """
        x, *told = self.normalised(values, missing)
        index = [self.layout.columns.index(name) for name in self.targets]
        shift, scale, known = (one[..., index] for one in told)
        unknown = torch.full((len(x), self.horizon, len(index)), torch.nan)
        inputs, source = self.streams(x, covariates, codes)
        past = None if source is None else Stream(as_tensors(source))
        units = torch.from_numpy(shift), torch.from_numpy(scale)
        return Batch(as_tensors(inputs), unknown, None, *units, source=past), known

    def facts(self) -> tuple[InputFacts, InputFacts | None]:
        """Return the facts of a model's inputs and of its source."""
        width = len(self.layout.columns) * (1 + self.marks)
        if not self.covariates.columns and not self.covariates.calendar:
            columns = self.layout.columns
            targets = [columns.index(target) for target in self.targets]
            window = SeriesWindow(
                steps=self.context, columns=len(columns), targets=targets, horizon=self.horizon
            )
            return InputFacts(num_features=width, window=window), None
        fields = {self._name(NUMBERS): Field(name=self._name(NUMBERS), width=width)}
        if self.standard is not None:
            name, width = self._name(COVARIATES), len(self.standard.mean[0]) * (1 + self.standard.marks)
            fields[name] = Field(name=name, width=width)
        fields |= {one.name: Field(name=one.name, size=one.size) for one in self.categories}
        past = InputFacts(stream=StreamFacts(fields=list(fields.values())))
        if not self.covariates.looks_ahead:
            return past, None
        future = [fields[name] for name in self._names_ahead()]
        return InputFacts(stream=StreamFacts(fields=future)), past

    def _names_ahead(self) -> list[str]:
        """Return the fields of the horizon's steps."""
        numbers = [self._name(COVARIATES)] if self.standard is not None else []
        known = {*self.covariates.ahead, *self.covariates.static}
        return [*numbers, *(one.name for one in self.categories if one.name in known)]

    def _name(self, name: str) -> str:
        """Return the name of a field of numbers: no category is called so."""
        while name in self.covariates.categories:
            name = f"({name})"
        return name

    def read(self, path: Path) -> Unseen:
        """Return the last window of each series in a file, and what is known of the steps after it.

        Raises:
            DataError: no series can be forecast; one sentence says why.
            ValueError: there is a file of the future, and the model reads none.
        """
        table = read_table(path, self.layout.convention)
        remarks = list(table.remarks)
        rows = self._rows(table, remarks)
        dated = None
        if self.layout.step is not None:
            dated = self._dates(table, rows.groups, remarks)
        _note_changing(rows, remarks)
        used = {*self.covariates.ahead, *self.covariates.static}
        unused = [name for name in rows.frame.columns if name not in used]
        instants = None if dated is None else dated.instants
        past = known_rows(rows, instants, self.targets, remarks, unused=unused, trained=True)
        keys, rows, future = rows.groups, rows[past], rows[~past]
        origin = None
        if self.layout.step is None or dated is None:
            parts = in_order(rows)
        else:
            rows, dates = dated_rows(rows, dated, remarks)
            self._check_step(path, dated, rows.groups)
            origin = dated.values.loc[dates.index].to_numpy().min()
            parts, _ = on_grid(rows, dated, self.layout.step, origin, remarks)
        lasts = list({part.name: part for part in parts}.values())
        ahead = self._ahead(rows, future, dated, origin, remarks)
        ahead.note(lasts, remarks)
        problems = {part.name: self._problem(part) or ahead.problem(part) for part in lasts}
        usable = [part for part in lasts if not problems[part.name]]
        told = [problem for problem in problems.values() if problem]
        if not usable:
            ahead_of = self.covariates.looks_ahead and self.future is None
            hint = f"; {option('future', 'FILE')} names the rows that follow the data" if ahead_of else ""
            raise DataError(f"{path}: {told[0] if told else 'there are no rows'}{hint}")
        remarks += [f"{problem}: left out" for problem in told]
        wanted = [part.name for part in usable for _ in range(self.horizon)]
        names = named_groups(table, self.layout.groups, keys, wanted)
        steps = self._steps_ahead(usable, origin, dated.reading if dated else None)
        batch = self._ends([ahead.append(part) for part in usable], remarks)
        if beyond := sum(ahead.beyond(part) for part in usable):
            remarks.append(f"{beyond} rows lie more than {self.horizon} steps ahead and are left out")
        return Unseen(batch, pd.concat([names, steps], axis=1), remarks, table.style)

    def _rows(self, table: Table, remarks: list[str]) -> SeriesRows:
        """Return the columns that the model needs."""
        layout, covariates = self.layout, self.covariates
        numbers = numbers_in(table, [*layout.columns, *covariates.numbers], remarks)
        texts = categories_in(table, self.categories, remarks)
        return SeriesRows(
            numbers.join(pd.DataFrame(texts, table.frame.index, dtype=object)),
            groups_in(table, layout.groups, remarks),
            layout.columns,
            covariates.numbers,
            covariates.categories,
            covariates.static,
        )

    def _dates(self, table: Table, groups: pd.Series, remarks: list[str]) -> Dates:
        layout = self.layout
        return axis_again(table.path, as_written(table), layout.date, layout.reading, remarks, groups)

    def _ahead(
        self,
        past: SeriesRows,
        future: SeriesRows,
        dated: Dates | None,
        origin: np.datetime64 | None,
        remarks: list[str],
    ) -> RowsAhead:
        """Return the rows after the ends of the series, those of the user's own file where one is named."""
        if self.future is not None:
            future, dated = self._rows_of_future(past, future, remarks)
        return RowsAhead(future, dated, origin, self.layout.step, self.horizon, self.targets, self.covariates)

    def _rows_of_future(
        self, past: SeriesRows, unused: SeriesRows, remarks: list[str]
    ) -> tuple[SeriesRows, Dates | None]:
        """Return the rows of the file that the user named for the future, with their dates."""
        covariates, layout = self.covariates, self.layout
        if not covariates.ahead:
            raise ValueError(
                f"{option('future')}: the model knows no column ahead, and reads no rows of the future"
            )
        table = read_table(check_exists(self.future or ""), layout.convention)
        remarks.extend(table.remarks)
        if len(unused.frame):
            remarks.append(f"what is known ahead is taken from {table.path.name} alone")
        numbers = numbers_in(
            table, [name for name in covariates.numbers if name in covariates.ahead], remarks
        )
        known = [one for one in self.categories if one.name in covariates.ahead]
        texts = pd.DataFrame(categories_in(table, known, remarks), table.frame.index, dtype=object)
        groups = groups_in(table, layout.groups, remarks)
        dated = None
        if layout.step is not None:
            dated = self._dates(table, groups, remarks)
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

    def _check_step(self, path: Path, dated: Dates, groups: pd.Series) -> None:
        trained = self.layout.step
        assert trained is not None
        step, regular, _ = find_step(path, dated, groups)
        if regular and not 0.6 < step.roughly() / trained.roughly() < 1.6:
            raise DataError(
                f"{path}: dates in {dated.name!r} are {step} apart; the model was trained on steps of {trained}"
            )

    def _problem(self, part: Series) -> str | None:
        """Return why this series cannot be forecast; None if it can."""
        what = f"series {part.name!r}" if part.name else "the series"
        if len(part.values) < self.context:
            return f"{what} has {len(part.values)} steps at its end; the model needs {self.context}"
        for name in self.targets:
            if np.isnan(part.values[:, self.layout.columns.index(name)]).all():
                return f"column {name!r} of {what} holds no number"
        return None

    def _ends(self, wholes: list[Series], remarks: list[str]) -> Batch:
        """Return the last windows of series that end with the steps to be forecast."""
        seen = [whole.values[: -self.horizon] for whole in wholes]
        values = np.stack([filled(one)[-self.context :] for one in seen])
        missing = np.stack([np.isnan(one[-self.context :]) for one in seen])
        if gone := int(missing.sum()):
            marked = " and are marked" if self.marks else ", which the model was trained without"
            remarks.append(
                f"{gone} of {missing.size} values of the windows are missing; they repeat the last known one{marked}"
            )
        width = self.context + self.horizon
        covariates = np.stack([whole.covariates[-width:] for whole in wholes])
        read = covariates if self.covariates.looks_ahead else covariates[:, : self.context]
        if gone := int(np.isnan(read).sum()):
            remarks.append(
                f"{gone} of {read.size} numbers beside the windows are missing; they are set to the mean"
                + (" and marked" if self.standard is not None and self.standard.marks else "")
            )
        codes = {
            one.name: one.encode(np.stack([whole.texts[one.name][-width:] for whole in wholes]))
            for one in self.categories
        }
        return self.windows(values, missing, covariates, codes)[0]

    def _steps_ahead(
        self, parts: list[Series], origin: np.datetime64 | None, reading: DateReading | None
    ) -> pd.DataFrame:
        """Return the date or number of each step that is forecast."""
        ahead = np.arange(self.horizon)
        if origin is None or reading is None or self.layout.step is None:
            return pd.DataFrame({"step": np.tile(ahead + 1, len(parts))})
        places = np.array([part.start + len(part.values) + k for part in parts for k in ahead.tolist()])
        return pd.DataFrame(reading.write(self.layout.step.dates(places, origin)))

    def answers(self, unseen: Unseen, outputs: Tensor) -> pd.DataFrame:
        """Return the forecast of each step, or of quantiles a column ``target_q0.1`` for each."""
        assert unseen.batch.scale is not None
        scale = unseen.batch.scale
        if self.levels:
            outputs = quantiles_of(outputs, unseen.batch.targets.shape, self.levels)
            scale = scale[..., None]
        values = significant(unseen.batch.in_units(outputs), scale.numpy())
        return beside(unseen.names, dict(zip(self.names, values.reshape(-1, len(self.names)).T)))


def _note_changing(rows: SeriesRows, remarks: list[str]) -> None:
    """Add remarks on static columns that are not the same at all steps of a series."""
    for name in rows.static:
        changing = rows.frame[name].groupby(rows.groups).nunique() > 1
        if changing.any():
            remarks.append(
                f"{name!r} was the same at all steps of a series in training and changes in {int(changing.sum())} here "
                f"({changing.index[changing][0]!r}, ...): its first value counts"
            )
