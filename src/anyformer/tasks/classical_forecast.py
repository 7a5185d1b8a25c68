"""The classical forecasts of single series, by statsforecast: exponential smoothing, Theta and ARIMA."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyformer.tasks.base import Reference, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.steps import Steps

SECONDS = 5.0
"""Rough time of the fits of one method, by which their number is chosen."""
MOST_STEPS = 200
"""Largest number of values before an origin that a model is fitted on, or four seasons."""
MISSING = (
    "the classical forecasts AutoETS, AutoTheta and AutoARIMA are not among the references, as statsforecast is not "
    'installed: pip install "anyformer[references]"'
)


@dataclass(frozen=True)
class Method:
    """A model of statsforecast.

    Attributes:
        name: of its class in ``statsforecast.models``.
        title: its name in words.
        seconds: rough time of a fit without and with a season, on ``MOST_STEPS`` values.
        longest: the longest season that it models, or models in such a time.
    """

    name: str
    title: str
    seconds: tuple[float, float]
    longest: int

    def most_fits(self, season: int | None) -> int:
        """Return the number of fits that there is time for; 0 if it does not model the season."""
        if (season or 1) > self.longest:
            return 0
        return int(SECONDS / self.seconds[(season or 1) > 1])


METHODS = (
    Method("AutoETS", "exponential smoothing, its form by AICc", (0.02, 0.15), 24),
    Method("AutoTheta", "the best of four Theta methods", (0.02, 0.02), 10**9),
    Method("AutoARIMA", "ARIMA, its orders by AICc", (0.1, 0.8), 12),
)


@dataclass(frozen=True, eq=False)
class Histories:
    """The series of a task, with the places at which it forecasts.

    Attributes:
        steps: the series.
        targets: indices of the columns that are forecast.
        origins: the first steps of the horizons of the test windows, ascending.
        horizon: number of steps that are forecast.
        season: steps after which series repeat themselves, or None.
        levels: of quantiles; empty where values are forecast.
    """

    steps: Steps
    targets: list[int]
    origins: np.ndarray
    horizon: int
    season: int | None
    levels: list[float]

    def before(self, origin: int) -> list[np.ndarray]:
        """Return the values of each target before an origin, the last ones, without those before the first known."""
        rows = slice(max(0, origin - self.most_steps), origin)
        values = self.steps.values[rows, self.targets][self.steps.owner[rows] == self.steps.owner[origin]]
        return [column[~np.isnan(column)] for column in values.T]

    @property
    def most_steps(self) -> int:
        """The number of values before an origin that are looked at."""
        return max(MOST_STEPS, 4 * (self.season or 1))

    @property
    def models(self) -> int:
        """The number of series and targets with test windows, each of which has a model of its own."""
        return len(np.unique(self.steps.owner[self.origins])) * len(self.targets)


class Classical(Reference):
    """A model of one series that is fitted on its own values before the origin of a forecast, and on nothing else.

    Where there are more windows than there is time for (``SECONDS``), models are fitted at some origins, spread evenly
    over the test windows of each series; at those between, the last model before, as it was fitted, goes on from the
    values up to there. The description says at how many. Quantiles are the model's own.
    """

    def __init__(self, method: Method, histories: Histories) -> None:
        super().__init__(method.name, f"{method.title}, by statsforecast")
        self.method, self.histories = method, histories
        self.models = dict[int, list[Any]]()

    def fit(self, task: Task) -> Classical:
        """Fit the models of all series at each origin, or at as many as there is time for."""
        origins, most = self.histories.origins, self.histories.most_steps
        owners = self.histories.steps.owner[origins]
        each = self.method.most_fits(self.histories.season) // self.histories.models
        for one in np.unique(owners):
            mine = origins[owners == one]
            places = np.linspace(0, len(mine), min(each, len(mine)), endpoint=False).astype(int)
            self.models |= {int(origin): self._fitted(int(origin)) for origin in mine[places]}
        some = (
            "" if len(self.models) == len(origins) else f"{len(self.models)} of the {len(origins)} origins, "
        )
        self.description += f", fitted at {some or 'each origin '}on at most {most} values before it"
        return self

    def _fitted(self, origin: int) -> list[Any]:
        from statsforecast import models

        kind = getattr(models, self.method.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [
                kind(season_length=self.histories.season or 1).fit(y) for y in self.histories.before(origin)
            ]

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``, or quantiles ``(B, horizon * num_variates * Q)``."""
        assert batch.origin is not None and batch.shift is not None and batch.scale is not None
        found = np.stack([self._ahead(int(origin)) for origin in batch.origin])  # (B, horizon, M, Q or 1)
        shift, scale = batch.shift.numpy()[..., None], batch.scale.numpy()[..., None]
        return torch.from_numpy((found - shift) / scale).flatten(1).float()

    def _ahead(self, origin: int) -> np.ndarray:
        """Return the forecast from an origin: ``(horizon, M, Q)``, with Q = 1 if it is a value."""
        owner = self.histories.steps.owner
        mine = [at for at in self.models if at <= origin and owner[at] == owner[origin]]
        at = max(mine, default=origin)
        if at not in self.models:  # before all fits, as in the validation split
            self.models[at] = self._fitted(at)
        columns = zip(self.models[at], self.histories.before(origin))
        return np.stack([self._told(model, values) for model, values in columns], 1)

    def _told(self, model: Any, values: np.ndarray) -> np.ndarray:
        """Return what a fitted model tells after other values ``(n,)``: ``(horizon, Q)``."""
        levels = self.histories.levels
        widths = [
            round(abs(200 * level - 100), 6) for level in levels
        ]  # of the interval that a quantile bounds
        asked = {"level": sorted({*widths} - {0})} if levels else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = model.forward(y=values, h=self.histories.horizon, **asked)
        names = [
            f"{'lo' if level < 0.5 else 'hi'}-{width}" if width else "mean"
            for level, width in zip(levels, widths)
        ]
        found: np.ndarray = np.stack([told[name] for name in names or ["mean"]], -1)
        if not np.isfinite(found).all():
            raise ValueError(f"{self.name} gave a forecast that is not finite")
        return found


def classical_forecasts(histories: Histories) -> tuple[list[Reference], list[str]]:
    """Return the classical forecasts whose cost fits, and remarks on those that are left out."""
    if find_spec("statsforecast") is None:
        return [], [MISSING]
    season, models = histories.season, histories.models
    fitting = [method for method in METHODS if method.most_fits(season) >= models]
    found: list[Reference] = [Classical(method, histories) for method in fitting]
    left = [method.name for method in METHODS if method not in fitting]
    if not left:
        return found, []
    named = " and ".join(filter(None, [", ".join(left[:-1]), left[-1]]))
    verb = "is" if len(left) == 1 else "are"
    what = f"{models} series" if models > 1 else "a series"
    seasons = f" with a season of {season} steps" if season else ""
    return found, [f"{named} {verb} not among the references: too costly for {what}{seasons}"]
