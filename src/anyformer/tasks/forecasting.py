"""Forecasting: the values that follow a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from anyformer.errors import DataError
from anyformer.heads import Pool
from anyformer.metrics import create_metric, list_metrics
from anyformer.objectives import Forecast, QuantileForecast
from anyformer.objectives.numeric import check_levels
from anyformer.questions import Question
from anyformer.spelling import option
from anyformer.tasks.base import SPLITS, Reference, Split, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import Category, describe_categories
from anyformer.tasks.classical_forecast import Histories, classical_forecasts
from anyformer.tasks.covariates import Covariates
from anyformer.tasks.encoding import DataLayout, Standard
from anyformer.tasks.error_quantiles import ErrorQuantiles
from anyformer.tasks.forecast_candidates import default_candidates
from anyformer.tasks.forecast_encoding import ForecastEncoding
from anyformer.tasks.linear_forecast import ChannelLinear
from anyformer.tasks.references import LastValue, SeasonalNaive, WindowMean
from anyformer.tasks.seasons import find_season, mean_differences
from anyformer.tasks.series_splits import borders_by_share
from anyformer.tasks.steps import Series, Steps
from anyformer.tasks.subsets import neighbours, stratified_order
from anyformer.tasks.tree_forecast import TreeForecast
from anyformer.tasks.window_lengths import REACHES_BACK, choose_window

_BLOCKS = 32
"""Number of blocks of time that a split is divided into, if windows are short enough."""
_MOST_WINDOWS = {"train": 10**9, "valid": 512, "test": 1024}


class ForecastTask(Task):
    """Predict ``horizon`` values of the target columns from the ``context`` values of all columns before them.

    With context 4 and horizon 2, a series 10 11 12 13 14 15 ... gives windows such as::

        seen     10 11 12 13      normalised by their mean 11.5 and deviation 1.12
        target               14 15

    Splits are contiguous in time, at the same indices of the grid for all series, and a window lies wholly inside
    one split, context included, so that no value is in two splits; with ``reach_back``, only its horizon does. Each
    window is normalised by the mean and deviation of its own context. Unknown values are filled with the last known one
    (before the first, the window's mean), marked in a channel of their own, and not counted as targets. Errors are in
    the user's units; with several series or targets, each is divided by its mean seasonal difference in the train split
    (MASE). With ``quantiles``, these are forecast in place of a value.

    Covariates are on the same scale everywhere: numbers standardised over the train split, and categories. Where some
    are known ahead, the window is the source, and the inputs are the steps of the horizon with what is known of them::

        source   10 11 12 13                   the window, with its promotions
                  -  -  p  -
        inputs               -  p              the promotions of the horizon
        target              14 15

    Args:
        series: the data, on one grid.
        columns: names of the columns of ``values``; targets: which of them to predict.
        covariates: the other columns: those of ``Series.covariates`` and the names of ``Series.texts``.
        context, horizon: lengths in steps; chosen from the length of the data and the season where not given.
        quantiles: levels of quantiles, ascending.
        reach_back: let the context of a window lie in the split before its own; by default only where the windows
            inside a split would be shorter than the season or the horizon.
        borders: indices of the grid at which validation and test begin, and test ends; shares of the time by default.
        seasons: lengths that the season may have; see :func:`anyformer.tasks.seasons.find_season`.
        layout: how the data was read; a table without dates where not given.
        name, title, seed: of the task.
        facts, remarks: from the reader of the data.
    """

    def __init__(
        self,
        series: Sequence[Series],
        columns: Sequence[str],
        targets: Sequence[str],
        *,
        name: str,
        covariates: Covariates | None = None,
        context: int | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] | None = None,
        reach_back: bool | None = None,
        borders: Sequence[int] | None = None,
        seasons: Sequence[int] = (),
        layout: DataLayout | None = None,
        seed: int = 0,
        facts: dict[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        if quantiles is not None:
            check_levels(quantiles)
        self.name, self.seed = name, seed
        self.columns, self.targets = list(columns), list(targets)
        self._target_index = [self.columns.index(target) for target in targets]
        self._facts, self._remarks = dict(facts or {}), list(remarks)
        self._names = np.array([one.name for one in series], object)
        self._lay_out(series)
        if borders is None:
            known = np.unique(self._grid[~self._missing[:, self._target_index].all(1)])
            borders = borders_by_share(known, int(self._grid.max()) + 1, name)
        self._cuts = [0, *borders]
        self.season = self._season_of(seasons)
        room = min(self._cuts[2] - self._cuts[1], self._cuts[3] - self._cuts[2])
        lengths = choose_window(room, self._cuts[1], self.season, context, horizon, name, reach_back)
        self.context, self.horizon, self._reach_back = lengths[:3]
        self._lengths_told = lengths.told
        if self._reach_back and reach_back is None:
            self._remarks.append(REACHES_BACK.format(option("reach_back", False)))
        self._starts = {split: self._some_windows(split) for split in SPLITS}
        for split in SPLITS:
            if not len(self._starts[split]):
                raise DataError(
                    f"{name}: no window of {self.context} + {self.horizon} steps with known values fits the "
                    f"{split} split; give a shorter context or horizon, or more data"
                )
        self._note_unused(series)
        floor = 1e-3 * self._spread()
        self._encoding = ForecastEncoding(
            **self._fit_covariates(covariates or Covariates()),
            layout=layout or DataLayout(kind="series", columns=self.columns),
            targets=self.targets,
            context=self.context,
            horizon=self.horizon,
            floor=np.where(floor > 0, floor, 1.0).tolist(),
            levels=[float(level) for level in quantiles or ()],
            marks=bool(self._missing.any()),
        )
        self._codes = {one.name: one.encode(self._steps.texts[one.name]) for one in self._encoding.categories}
        self._differences = self._seasonal_differences()
        self._describe_self()

    def _describe_self(self) -> None:
        inputs, self.source = self._encoding.facts()
        self.num_features, self.stream, self.window = inputs.num_features, inputs.stream, inputs.window
        self.train_length = self.context
        own, width = self._target_index, len(self.columns)
        self.target_channels = tuple(own)
        self.other_channels = tuple(c for c in range(self.num_features or 0) if c % width not in own)
        pool: Pool = "last"
        if self.source is not None:
            self.train_length, self.source_length, pool = self.horizon, self.context, None
            self.sees_whole = True
        levels = tuple(self._encoding.levels)
        size = (self.horizon, len(self.targets))
        single = len(self.targets) == 1 and len({*self._names}) == 1
        if levels:
            self.objective = QuantileForecast(*size, pool, levels=levels)
            metric = "quantile_loss" if single else "scaled_quantile_loss"
        else:
            self.objective = Forecast(*size, pool)
            metric = "mae" if single else "mase"
        self.metric = create_metric(metric, self.question)
        beside = [*(["coverage"] if len(levels) > 1 else []), *(["mae"] if len(self.targets) == 1 else [])]
        beside = [name for name in beside if name != metric and name in list_metrics(self.question)]
        self.beside = tuple(create_metric(name, self.question) for name in beside)
        self.beside_items = _MOST_WINDOWS["test"]
        what = ", ".join(self.targets[:3]) + (" ..." if len(self.targets) > 3 else "")
        asked = f"quantiles of {what}" if levels else what
        known = ", ".join(self._encoding.covariates.ahead[:3])
        knowing = f", knowing {known} ahead" if known else ""
        self.title = f"Forecast {asked}: {self.horizon} steps ahead from the {self.context} before{knowing}."
        if (
            self.window is not None
        ):  # what is known ahead, static or a category has no place in what reads it whole
            self.candidates, self.why = default_candidates(self.window.columns)

    def _lay_out(self, series: Sequence[Series]) -> None:
        self._steps = Steps(series)
        self._values, self._missing = self._steps.values, self._steps.missing
        self._grid, self._owner = self._steps.grid, self._steps.owner
        empty = [name for i, name in enumerate(self.columns) if self._missing[:, i].all()]
        if empty:
            raise DataError(f"{self.name}: column {empty[0]!r} holds no number at all")

    def _fit_covariates(self, covariates: Covariates) -> dict[str, Any]:
        """Return the fields of the encoding that are about covariates, fitted on the train split."""
        train, found = self._rows("train"), self._steps.covariates
        standard = None
        if found.shape[1]:
            marks = bool(np.isnan(found).any())
            standard = Standard.fit(found[None, train], None, by_place=False, marks=marks)
        texts = self._steps.texts
        categories = [Category.fit(name, texts[name][train]) for name in covariates.categories]
        for one in categories:
            if not one.values:
                raise DataError(
                    f"{self.name}: no value of {one.name!r} is there twice in the training part, so that nothing can "
                    f"be learnt of one; {option('drop', one.name)} leaves it out"
                )
        describe_categories(categories, texts, self._remarks)
        return {"covariates": covariates, "standard": standard, "categories": categories}

    def _rows(self, split: Split) -> np.ndarray:
        low, high = self._cuts[SPLITS.index(split)], self._cuts[SPLITS.index(split) + 1]
        rows: np.ndarray = (self._grid >= low) & (self._grid < high)
        return rows

    def _windows(self, split: Split) -> np.ndarray:
        """Return the first rows of a split's windows, each within one series and the split, with a known value."""
        width = self.context + self.horizon
        inside = self._rows(split)
        last = np.arange(len(self._values)) + width - 1
        starts = np.flatnonzero(last < len(self._values))
        ends = last[starts]
        firsts = starts + self.context if self._reach_back else starts
        fits = inside[firsts] & inside[ends] & (self._owner[starts] == self._owner[ends])
        starts = starts[fits]
        known = np.append(0, (~self._missing[:, self._target_index]).any(1).cumsum())
        middle = starts + self.context
        found: np.ndarray = starts[(known[middle] > known[starts]) & (known[starts + width] > known[middle])]
        return found

    def _some_windows(self, split: Split) -> np.ndarray:
        """Return the windows that stand for a split, evenly spread over its series and time."""
        starts = self._windows(split)
        if len(starts) <= _MOST_WINDOWS[split]:
            return starts
        order = stratified_order(self._owner[starts], np.random.default_rng([self.seed, 37]))
        return np.sort(starts[order[: _MOST_WINDOWS[split]]])

    def _note_unused(self, series: Sequence[Series]) -> None:
        """Remark on series without any window, as they are too short or lie across two splits."""
        owners = np.unique(np.concatenate([self._owner[starts] for starts in self._starts.values()]))
        seen = {series[owner].name for owner in owners}
        unused = sorted({one.name for one in series} - seen)
        if unused:
            shown = ", ".join(map(repr, unused[:5])) + (
                f" and {len(unused) - 5} more" if len(unused) > 5 else ""
            )
            self._remarks.append(
                f"no window of {self.context} + {self.horizon} steps fits {len(unused)} of the series, which are "
                f"left out: {shown}"
            )

    def _season_of(self, candidates: Sequence[int]) -> int | None:
        """Return the season of the first target in the longest series of the train split."""
        rows = np.flatnonzero(self._rows("train"))
        if not len(rows):
            return None
        owners, counts = np.unique(self._owner[rows], return_counts=True)
        longest = rows[self._owner[rows] == owners[counts.argmax()]]
        y = self._values[longest, self._target_index[0]]
        return find_season(y[~np.isnan(y)], candidates)

    def _seasonal_differences(self) -> np.ndarray:
        """Return the mean seasonal difference of each part's series in the train split ``(parts, targets)``.

        Of a series that has none, as it does not change or is too short, it is the mean of the others'.
        """
        names, numbers = np.unique(self._names.astype(str), return_inverse=True)
        y = np.where(self._missing, np.nan, self._values)[:, self._target_index]
        found = mean_differences(
            y, self._owner, numbers[self._owner], self._rows("train"), lag=self.season or 1
        )
        without, counts = np.isnan(found), (~np.isnan(found)).sum(0)
        others = np.where(counts, np.nansum(found, 0) / np.maximum(counts, 1), 1.0)
        if without.any() and len(names) > 1:
            none = names[without.any(1)].tolist()
            listed = ", ".join(map(repr, none[:3])) + (", ..." if len(none) > 3 else "")
            self._remarks.append(
                f"{len(none)} series ({listed}) do not change in the training part or are not in it: where errors are "
                "scaled, theirs are divided by the mean seasonal difference of the others"
            )
        return np.where(without, others, found)[numbers]

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of windows in the split: at most 1024 in the test, evenly spread, and 512 in validation."""
        return len(self._starts[split])

    @property
    def encoding(self) -> ForecastEncoding:
        """The encoding of the ends of other series as windows of this task."""
        return self._encoding

    def _all_windows(self, split: Split) -> np.ndarray:
        held: dict[Split, np.ndarray] = self.__dict__.setdefault("_held_windows", {})
        if split not in held:
            held[split] = self._windows(split)
        return held[split]

    def _amount(self, split: Split) -> int:
        return len(self._all_windows(split))

    def _trained_on(self, split: Split, step: int, batch_size: int) -> Batch:
        """Return the batch of a training step, out of all windows of the split."""
        starts = self._all_windows(split)
        return self._windows_at(starts[self._shuffled(step, batch_size, len(starts))])

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        return self._windows_at(self._starts[split][index])

    def _windows_at(self, starts: np.ndarray) -> Batch:
        whole = starts[:, None] + np.arange(self.context + self.horizon)
        seen, ahead = whole[:, : self.context], whole[:, self.context :]
        codes = {name: code[whole] for name, code in self._codes.items()}
        batch, known = self._encoding.windows(
            self._values[seen], self._missing[seen], self._steps.covariates[whole], codes
        )
        assert batch.shift is not None and batch.scale is not None
        shift, scale = batch.shift.numpy(), batch.scale.numpy()
        counts = (
            ~self._missing[ahead][..., self._target_index] & known
        )  # without a known value there is no scale
        targets = np.where(counts, (self._values[ahead][..., self._target_index] - shift) / scale, np.nan)
        return replace(
            batch,
            targets=torch.from_numpy(targets.astype(np.float32)),
            difference=torch.from_numpy(self._differences[self._owner[starts], None]),
            origin=torch.from_numpy(starts + self.context),
        )

    def _spread(self) -> np.ndarray:
        """Return each column's deviation (M,) in the train split; a thousandth of it is the least scale of a window."""
        train = self._values[self._rows("train")]
        known = np.maximum((~np.isnan(train)).sum(0), 1)
        mean = np.nansum(train, 0) / known
        spread: np.ndarray = np.sqrt(np.nansum(np.square(train - mean), 0) / known)
        return spread

    def _strata(self, split: Split, length: int) -> np.ndarray:
        """Return the series of each window."""
        owners: np.ndarray = self._owner[self._starts[split]]
        return owners

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return blocks of time within a series, none shorter than a window, as windows overlap and errors persist.

        Blocks are longer if the split has room for more than 32 of them.
        """
        starts, owners = self._starts[split], self._strata(split, length)
        present = np.unique(owners)
        most = -(-_BLOCKS // len(present))
        found = np.empty(len(starts), np.int64)
        for number, owner in enumerate(present):
            mine = owners == owner
            blocks = neighbours(starts[mine], shortest=self.context + self.horizon, most=most)
            found[mine] = number * most + blocks
        return found

    @property
    def question(self) -> Question:
        """The next values of the target columns."""
        field = self.targets[0] if len(self.targets) == 1 else ""
        return replace(self.objective.question, field=field, scaled=True)

    def references(self) -> list[Reference]:
        """Last value, last season, window's mean, linear, trees with covariates, and classical forecasts."""
        columns, levels = self._target_index, self._encoding.levels
        points: list[Reference] = [LastValue(columns), WindowMean(columns), ChannelLinear(columns)]
        if self.season is not None and self.season <= self.context:
            points.insert(1, SeasonalNaive(columns, self.season))
        if self.stream is not None:
            points.append(TreeForecast(columns))
        found = [ErrorQuantiles(point, levels) for point in points] if levels else points
        return [*found, *self._classical()[0]]

    def _classical(self) -> tuple[list[Reference], list[str]]:
        rest = (self._starts["test"] + self.context, self.horizon, self.season, self._encoding.levels)
        return classical_forecasts(Histories(self._steps, self._target_index, *rest))

    @property
    def train_elements(self) -> int:
        """Values of the targets in the train split, each counted once; windows overlap."""
        return int(self._rows("train").sum()) * len(self.targets)

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            **super().describe(),
            "columns": self.columns,
            "targets": self.targets,
            "context": self.context,
            "horizon": self.horizon,
            **self._encoding.covariates.describe(),
            **({"quantiles": self._encoding.levels} if self._encoding.levels else {}),
            "season": self.season,
            "steps": dict(zip(SPLITS, np.diff(self._cuts).tolist())),
            "missing": dict(zip(self.columns, self._missing.sum(0).tolist())),
            "seasonal_difference": dict(zip(self.targets, self._differences.mean(0).tolist())),
            **self._facts,
        }

    def notes(self) -> list[str]:
        """Return remarks on gaps, missing values, and choices made."""
        step = self._encoding.layout.step
        long = f" ({step.times(self.season)})" if step and self.season else ""
        season = f"a season of {self.season} steps{long}" if self.season else "no season"
        chosen = f"{self._lengths_told}; {season} found"
        if self.season and self.season > self.context:
            chosen += ", longer than a window, so that the seasonal predictor is left out"
        return [*self._remarks, chosen, *self._classical()[1]]
