"""The linear forecast: ridge regression for each channel, the usual baseline of forecasting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anyformer.tasks.base import Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.references import FIT_SAMPLES, LastValue, window_of

MOST_INPUTS = 512
"""Largest number of inputs: the last values of a window, over all its columns."""
MOST_KNOWN = 512
"""Largest number of inputs that are known ahead, over all steps."""
MOST_WINDOWS = 100_000
"""Largest number of windows times targets that are fitted, where that leaves more than ``FIT_SAMPLES`` windows."""
MOST_LENGTHS = 8
"""Numbers of steps back that are tried, by the validation split; over all targets, four times as many."""
SHORTEST = 48
"""Fewest steps back that are tried, where the window has more: of few inputs the penalty takes care."""
PART = 4096
"""Windows that are read at once."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Relative to the mean variance along the principal axes of the inputs."""


class ChannelLinear(LastValue):
    """Ridge regression from the values of a window, less the last one, to those that follow, less the last one.

    Each target has its own model, of its own values or of all columns'; the validation split chooses between them and
    the last value alone, how many steps back they look, and the penalty. Windows are weighted by the square of their
    deviation, as errors in the user's units are, or by that in units of the series' seasonal difference, where the
    metric is. The form of one column without a penalty is NLinear (Zeng et al. 2023, section 4). What is known ahead
    are inputs too, of all steps of the horizon, or of the window's too: the validation split chooses; categories as
    indicators, the smallest first, up to ``MOST_KNOWN`` inputs.
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
        index = task.subset("train", max(FIT_SAMPLES, MOST_WINDOWS // len(self.columns)))
        train = [next(task.eval_batches("train", PART, index=part)) for part in _parts(index)]
        valid = task.sample("valid", FIT_SAMPLES)
        self.known = _Known.of(train[0], task)
        if self.known.fields:
            self.description = self.description.replace("value;", "value, and on what is known ahead;")
        self.chosen = [self._best(train, valid, place) for place in range(len(self.columns))]
        self.parameters = sum(one.weights.size + one.level.size for one in self.chosen if one is not None)
        return self

    def _best(self, train: Sequence[Batch], valid: Batch, place: int) -> _Ridge | None:
        """Return the best form for one target; None for the last value."""
        wanted, units = self._ahead(valid, place)
        known = ~np.isnan(wanted)

        def error(predicted: np.ndarray) -> float:
            return float((np.abs(predicted - np.where(known, wanted, 0)) * known * units[:, None]).sum())

        best, least = None, error(np.zeros_like(wanted))
        for channels in self._channels(valid, place):
            steps = min(window_of(valid).shape[1], MOST_INPUTS // len(channels))
            for ahead in self.known.steps:
                whole = _Form(channels, steps, ahead)
                sums = _Sums.of((self._inputs(batch, whole), *self._ahead(batch, place)) for batch in train)
                z = self._inputs(valid, whole)
                for back in lengths(steps, len(self.columns)):
                    form = _Form(channels, back, ahead)
                    kept = slice((steps - back) * len(channels), None)
                    for ridge in _ridges(sums.part(kept), PENALTIES, form):
                        found = error(ridge.predict(z[:, kept]))
                        if found < least:
                            best, least = ridge, found
        return best

    def _channels(self, batch: Batch, place: int) -> list[list[int]]:
        """Return the columns that forms for a target look at: its own, and all."""
        everything = list(range(window_of(batch).shape[-1]))
        return [[self.columns[place]], *([everything] if 1 < len(everything) <= MOST_INPUTS else [])]

    def _ahead(self, batch: Batch, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a target's next values less its last, ``(B, horizon)``, NaN where unknown; and weights ``(B,)``.

        The weights are what a deviation of the window is worth in the metric.
        """
        assert batch.scale is not None and batch.difference is not None
        y = batch.targets[..., place] - window_of(batch)[:, -1:, self.columns[place]]
        units, difference = batch.scale[:, 0, place], batch.difference[:, 0, place]
        if self.scaled:
            units = units / difference
        return y.double().numpy(), units.numpy()

    def _inputs(self, batch: Batch, form: _Form) -> np.ndarray:
        """Return the inputs ``(B, F)`` of a form: the last steps less their last value, and what is known ahead."""
        x = window_of(batch)[:, -form.back :, form.channels].double()
        found: np.ndarray = (x - x[:, -1:]).flatten(1).numpy()
        return found if form.steps == 0 else np.concatenate([found, self.known(batch, form.steps)], 1)

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        found = super().predict(batch).unflatten(1, (self.horizon, -1)).double()
        for place, ridge in enumerate(self.chosen):
            if ridge is not None:
                found[..., place] += torch.from_numpy(ridge.predict(self._inputs(batch, ridge.form)))
        return found.flatten(1).float()


def lengths(steps: int, targets: int) -> list[int]:
    """Return numbers of steps back to try, descending: even shares of ``steps``, fewer of them with many targets."""
    count = min(MOST_LENGTHS, max(1, 4 * MOST_LENGTHS // targets))
    shares = {steps * part // count for part in range(1, count + 1)}
    return sorted({max(share, min(steps, SHORTEST)) for share in shares}, reverse=True)


def _parts(index: np.ndarray) -> list[np.ndarray]:
    """Return indices in parts that are read at once."""
    return [index[start : start + PART] for start in range(0, len(index), PART)]


@dataclass(frozen=True)
class _Form:
    """Inputs of a regression: channels of the window's last ``back`` steps, and what is known ahead.

    That is of the last ``steps`` of window and horizon.
    """

    channels: list[int]
    back: int
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


@dataclass(frozen=True, eq=False)
class _Sums:
    """Weighted means of inputs x (F,) and outputs y (O,), and of their products less those of the means."""

    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(cls, batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> _Sums:
        """Return those of batches of x (B, F), y (B, O), 0 where it is NaN, and weights (B,), which are squared."""
        total, found = 0.0, list[np.ndarray]()
        for x, y, weights in batches:
            counts = np.square(weights)
            y, weighted = np.nan_to_num(y), x * counts[:, None]
            more = [weighted.sum(0), counts @ y, weighted.T @ x, weighted.T @ y]
            found = [a + b for a, b in zip(found, more)] if found else more
            total += counts.sum()
        x, y, xx, xy = (one / total for one in found)
        return cls(x, y, xx - np.outer(x, x), xy - np.outer(x, y))

    def part(self, inputs: slice) -> _Sums:
        """Return those of some of the inputs."""
        return _Sums(self.x[inputs], self.y, self.xx[inputs, inputs], self.xy[inputs])


def _ridges(sums: _Sums, penalties: Sequence[float], form: _Form) -> Iterator[_Ridge]:
    """Yield the ridge regressions with each penalty, by one decomposition."""
    values, vectors = np.linalg.eigh(sums.xx)
    values = np.maximum(values, 0)
    if not values.max() > 1e-14 * (sums.x @ sums.x):  # nothing but rounding
        return
    projected = vectors.T @ sums.xy
    for penalty in penalties:
        weights = vectors @ (projected / (values + penalty * values.mean())[:, None])
        yield _Ridge(form, sums.x, weights, sums.y)
