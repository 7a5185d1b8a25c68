"""The linear forecast: ridge regression for each channel, the usual baseline of forecasting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anyformer.tasks.base import Batch, Task
from anyformer.tasks.references import FIT_SAMPLES, LastValue, window_of

MOST_INPUTS = 512
"""Largest number of inputs: the last values of a window, over all its columns."""
MOST_KNOWN = 512
"""Largest number of inputs that are known ahead, over all steps."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Relative to the mean variance along the principal axes of the inputs."""


class ChannelLinear(LastValue):
    """Ridge regression from the values of a window, less the last one, to those that follow, less the last one.

    Each target has its own model, of its own values or of all columns'; the validation split chooses between them and
    the last value alone, and the penalty. Windows are weighted by the square of their deviation, as errors in the
    user's units are, or by that in units of the series' seasonal difference, where the metric is. The form of one
    column without a penalty is NLinear (Zeng et al. 2023, section 4). What is known ahead are inputs too, of all steps
    of the horizon, or of the window's too: the validation split chooses; categories as indicators, the smallest first,
    up to ``MOST_KNOWN`` inputs.
    """

    def __init__(self, columns: list[int]) -> None:
        super().__init__(columns)
        self.name = "linear"
        self.description = (
            "ridge regression on the window less its last value; inputs and penalty by validation"
        )

    def fit(self, task: Task) -> ChannelLinear:
        """Fit all forms on the train split and keep, for each target, the best on the validation split."""
        super().fit(task)
        self.scaled = task.metric.scaled
        train, valid = task.sample("train", FIT_SAMPLES), task.sample("valid", FIT_SAMPLES)
        self.known = _Known.of(train, task)
        if self.known.fields:
            self.description = self.description.replace("value;", "value, and on what is known ahead;")
        self.chosen = [self._best(train, valid, place) for place in range(len(self.columns))]
        return self

    def _best(self, train: Batch, valid: Batch, place: int) -> _Ridge | None:
        """Return the best form for one target; None for the last value."""
        y, scale = self._ahead(train, place)
        wanted, units = self._ahead(valid, place)
        known = ~np.isnan(wanted)

        def error(predicted: np.ndarray) -> float:
            return float((np.abs(predicted - np.where(known, wanted, 0)) * known * units[:, None]).sum())

        best, least = None, error(np.zeros_like(wanted))
        everything = list(range(window_of(train).shape[-1]))
        for channels in [
            [self.columns[place]],
            *([everything] if 1 < len(everything) <= MOST_INPUTS else []),
        ]:
            for steps in self.known.steps:
                form = _Form(channels, steps)
                x, z = self._inputs(train, form), self._inputs(valid, form)
                for ridge in _ridges(x, np.nan_to_num(y), np.square(scale), PENALTIES, form):
                    found = error(ridge.predict(z))
                    if found < least:
                        best, least = ridge, found
        return best

    def _ahead(self, batch: Batch, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a target's next values less its last, ``(B, horizon)``, NaN where unknown; and weights ``(B,)``.

        The weights are what a deviation of the window is worth in the metric.
        """
        assert batch.scale is not None and batch.difference is not None
        y = batch.targets[..., place] - window_of(batch)[:, -1:, self.columns[place]]
        units, difference = batch.scale[:, 0, place], batch.difference[:, 0, place]
        if self.scaled and (difference != difference[0]).any():
            units = units / difference
        return y.double().numpy(), units.numpy()

    def _inputs(self, batch: Batch, form: _Form) -> np.ndarray:
        """Return the inputs ``(B, F)`` of a form."""
        found = _less_last(batch, form.channels)
        return found if form.steps == 0 else np.concatenate([found, self.known(batch, form.steps)], 1)

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        found = super().predict(batch).unflatten(1, (self.horizon, -1)).double()
        for place, ridge in enumerate(self.chosen):
            if ridge is not None:
                found[..., place] += torch.from_numpy(ridge.predict(self._inputs(batch, ridge.form)))
        return found.flatten(1).float()


@dataclass(frozen=True)
class _Form:
    """Inputs of a regression: channels of the window, and what is known of the last ``steps`` of window and horizon."""

    channels: list[int]
    steps: int


@dataclass(frozen=True)
class _Known:
    """Inputs that are known ahead.

    Attributes:
        fields: names of fields of numbers, with None, and of categories, with their size.
        steps: numbers of steps that forms may look at: none, those of the horizon, those and the window's last ones.
    """

    fields: dict[str, int | None]
    steps: list[int]

    @classmethod
    def of(cls, batch: Batch, task: Task) -> _Known:
        """Return what fits: numbers, and categories that change within horizons, the smallest first."""
        fields, width = dict[str, int | None](), 0
        if batch.source is None or task.stream is None or isinstance(batch.inputs, Tensor):
            return cls({}, [0])
        horizon, most = task.train_length, MOST_KNOWN // task.train_length
        for field in sorted(task.stream.fields, key=lambda field: field.size or 0):
            value = batch.inputs[field.name]
            same = field.size is not None and bool((value == value[:, :1]).all())
            more = field.width or field.size or 0
            if not same and width + more <= most:
                fields[field.name], width = field.size, width + more
        if not fields:
            return cls({}, [0])
        past = min(task.source_length, MOST_KNOWN // width - horizon)
        return cls(fields, sorted({0, horizon, horizon + past}))

    def __call__(self, batch: Batch, steps: int) -> np.ndarray:
        """Return what is known of the last steps of window and horizon, ``(B, F)`` float64."""
        assert batch.source is not None
        assert not isinstance(batch.inputs, Tensor) and not isinstance(batch.source.inputs, Tensor)
        found = []
        for name, size in self.fields.items():
            whole = torch.cat([batch.source.inputs[name], batch.inputs[name]], 1)[:, -steps:]
            found.append((whole if size is None else functional.one_hot(whole, size)).double().flatten(1))
        return torch.cat(found, 1).numpy()


@dataclass(frozen=True, eq=False)
class _Ridge:
    """``y = (x - mean) @ weights + level``, of the inputs (B, F) of a form."""

    form: _Form
    mean: np.ndarray
    weights: np.ndarray
    level: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return y ``(B, outputs)``."""
        found: np.ndarray = (x - self.mean) @ self.weights + self.level
        return found


def _less_last(batch: Batch, channels: list[int]) -> np.ndarray:
    """Return the last steps of these channels, less their last values, as ``(B, F)`` with F at most ``MOST_INPUTS``."""
    x = window_of(batch)[:, -(MOST_INPUTS // len(channels)) :, channels].double()
    found: np.ndarray = (x - x[:, -1:]).flatten(1).numpy()
    return found


def _ridges(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, penalties: Sequence[float], form: _Form
) -> Iterator[_Ridge]:
    """Yield ridge regressions of y (B, outputs) on x (B, F), weighted (B,), for each penalty, by one decomposition."""
    counts = counts / counts.sum()
    mean, level = counts @ x, counts @ y
    x = x - mean
    weighted = x * counts[:, None]
    values, vectors = np.linalg.eigh(weighted.T @ x)
    values = np.maximum(values, 0)
    if not values.max() > 0:
        return
    projected = vectors.T @ (weighted.T @ (y - level))
    for penalty in penalties:
        weights = vectors @ (projected / (values + penalty * values.mean())[:, None])
        yield _Ridge(form, mean, weights, level)
