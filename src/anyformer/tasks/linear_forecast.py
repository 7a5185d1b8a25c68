"""The linear forecast: ridge regression for each channel, the usual baseline of forecasting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anyformer.tasks.base import Batch, Task
from anyformer.tasks.references import FIT_SAMPLES, LastValue

MOST_INPUTS = 512
"""Largest number of inputs: the last values of a window, over all its columns."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Relative to the mean variance along the principal axes of the inputs."""


class ChannelLinear(LastValue):
    """Ridge regression from the values of a window, less the last one, to those that follow, less the last one.

    Each target has its own model, of its own values or of all columns'; the validation split chooses between them and
    the last value alone, and the penalty. Windows are weighted by the square of their deviation, as errors in the
    user's units are. The form of one column without a penalty is NLinear (Zeng et al. 2023, section 4).
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
        train, valid = task.sample("train", FIT_SAMPLES), task.sample("valid", FIT_SAMPLES)
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
        everything = list(range(train.x.shape[-1]))
        for channels in [
            [self.columns[place]],
            *([everything] if 1 < len(everything) <= MOST_INPUTS else []),
        ]:
            x, z = _less_last(train, channels), _less_last(valid, channels)
            for ridge in _ridges(x, np.nan_to_num(y), np.square(scale), PENALTIES, channels):
                found = error(ridge.predict(z))
                if found < least:
                    best, least = ridge, found
        return best

    def _ahead(self, batch: Batch, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a target's next values less its last, ``(B, horizon)``, NaN where unknown; and deviations ``(B,)``."""
        assert batch.scale is not None
        y = batch.targets[..., place] - batch.x[:, -1:, self.columns[place]]
        return y.double().numpy(), batch.scale[:, 0, place].numpy()

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        found = super().predict(batch).unflatten(1, (self.horizon, -1)).double()
        for place, ridge in enumerate(self.chosen):
            if ridge is not None:
                found[..., place] += torch.from_numpy(ridge.predict(_less_last(batch, ridge.channels)))
        return found.flatten(1).float()


@dataclass(frozen=True, eq=False)
class _Ridge:
    """``y = (x - mean) @ weights + level``, of inputs (B, F): these channels of a window, flattened."""

    channels: list[int]
    mean: np.ndarray
    weights: np.ndarray
    level: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return y ``(B, outputs)``."""
        found: np.ndarray = (x - self.mean) @ self.weights + self.level
        return found


def _less_last(batch: Batch, channels: list[int]) -> np.ndarray:
    """Return the last steps of these channels, less their last values, as ``(B, F)`` with F at most ``MOST_INPUTS``."""
    x = batch.x[:, -(MOST_INPUTS // len(channels)) :, channels].double()
    found: np.ndarray = (x - x[:, -1:]).flatten(1).numpy()
    return found


def _ridges(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, penalties: Sequence[float], channels: list[int]
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
        yield _Ridge(channels, mean, weights, level)
