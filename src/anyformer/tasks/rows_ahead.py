"""The rows after the ends of series, which say what is known of the steps that are forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from anyformer.dates.calendar import Step
from anyformer.dates.reading import Dates
from anyformer.tasks.covariates import Covariates
from anyformer.tasks.series import SeriesRows, lies_between, with_calendar
from anyformer.tasks.steps import Series


@dataclass(frozen=True)
class RowsAhead:
    """The rows after the ends of series.

    Attributes:
        rows: those after the last known target of their series.
        dated, origin, step: the dates of all rows, that at the start of the grid, and the time between two steps; None
            if rows are steps.
        horizon: steps that are forecast.
        targets: names of what is forecast.
        covariates: the other columns.
    """

    rows: SeriesRows
    dated: Dates | None
    origin: np.datetime64 | None
    step: Step | None
    horizon: int
    targets: Sequence[str]
    covariates: Covariates
    _found: dict[str, pd.DataFrame] = field(default_factory=dict, init=False)

    @cached_property
    def by_name(self) -> dict[str, pd.DataFrame]:
        """The rows of each series."""
        return dict(self.rows.by_series())

    def problem(self, part: Series) -> str | None:
        """Return why what is known of the steps ahead of a series is not enough; None if it is."""
        found = self._steps(part)
        there = found.index.intersection(self._places(part))
        for name in self.covariates.ahead:
            empty = 0 if name in self.covariates.gaps else int(found.loc[there, name].isna().sum())
            known = len(there) - empty
            if known < self.horizon:
                of = f"series {part.name!r} has" if part.name else "there are"
                what = " and ".join(map(repr, self.targets[:2]))
                return (
                    f"{of} {known} rows with {name!r} after the last {what}; the model needs {self.horizon}, one for "
                    "each step that it forecasts"
                )
        return None

    def note(self, parts: list[Series], remarks: list[str]) -> None:
        """Add remarks on rows of the future that are not read as they stand."""
        before, shared, between = 0, 0, 0
        for part in parts:
            mine = self.by_name.get(part.name, self.rows.frame.head(0))
            places = self._numbers(part, mine)
            early = places < self._places(part).start
            before += int(early.sum())
            shared += len(places[~early]) - len(np.unique(places[~early]))
            if self.dated is not None and self.origin is not None and self.step is not None:
                dates = self.dated.values.loc[mine.index].to_numpy()
                between += len(mine) * lies_between(dates, places, self.step, self.origin)
        if between:
            remarks.append(
                f"{between} rows of the future have dates between the steps that are forecast: each is taken for the "
                f"nearest step of {self.step}"
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
        covariates = self.covariates
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
        assert self.step is not None and self.origin is not None
        return with_calendar([whole], covariates.calendar, self.step, self.origin)[0]

    def _places(self, part: Series) -> range:
        end = part.start + len(part.values)
        return range(end, end + self.horizon)

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
        if self.dated is None or self.origin is None or self.step is None:
            return self._places(part).start + np.arange(len(mine))
        return self.step.index(self.dated.values.loc[mine.index].to_numpy(), self.origin)
