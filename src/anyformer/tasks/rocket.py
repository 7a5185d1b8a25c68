"""MiniRocket: a ridge on what fixed dilated kernels find in series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anyformer.layers.rocket import KERNELS, TAPS, KernelShares
from anyformer.objectives import Classify, Labels
from anyformer.tasks.base import Reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

MOST_FEATURES, FEWEST_FEATURES = 119, 8
"""Features of a kernel, over all dilations; fewer where the series are many and long."""
MOST_WORK = 1e10
"""Largest number of values that are compared, which takes some twenty seconds of a core."""
FIT_SERIES = 2000
"""Largest number of series that the ridge is fitted on."""
PENALTIES = np.logspace(-3, 3, 10)


class MiniRocket(Reference):
    """Ridge regression on MiniRocket's features (Dempster, Schmidt and Webb 2021), one output a class, label or number.

    For the features see :class:`anyformer.layers.rocket.KernelShares`. The penalty is that with the least squared error
    when each training series is left out in turn.
    """

    def __init__(self) -> None:
        super().__init__("MiniRocket", "ridge regression on shares of steps at which fixed kernels respond")

    def fit(self, task: Task) -> MiniRocket:
        """Choose dilations, channels and biases on the train split, and fit the ridge."""
        self.objective = task.objective
        train = task.train_sample(FIT_SERIES)
        count = features_for(series_in(task), task.train_length)
        series, mask = _series(train)
        self.shares = KernelShares(count, series.shape[1])
        self.shares.fit(series, mask, np.random.default_rng(task.seed))
        x = self.features(train)
        self.mean, self.scale = x.mean(0), x.std(0) + 1e-6
        y, targets = train.targets.numpy(), self.objective
        if isinstance(targets, Classify):
            y = np.eye(targets.num_classes)[y]
        y = np.nan_to_num(y.reshape(len(x), -1).astype(np.float64))
        self.weights, self.level = leave_one_out_ridge((x - self.mean) / self.scale, y, PENALTIES)
        self.parameters = self.weights.size + self.level.size
        self.description = (
            f"ridge regression on {x.shape[1]} shares of steps at which fixed kernels respond, fitted on {len(x)} "
            "series, penalty by leaving one out"
        )
        return self

    def features(self, batch: Batch) -> np.ndarray:
        """Return the shares ``(B, features)`` float64."""
        x, mask = _series(batch)
        parts = [self.shares(x[i : i + 64], mask[i : i + 64])[:, 0] for i in range(0, len(x), 64)]
        return torch.cat(parts).double().numpy()

    def predict(self, batch: Batch) -> Tensor:
        """Return logits or values ``(B, num_outputs)``; a logit grows with the output of the ridge."""
        found = (self.features(batch) - self.mean) / self.scale @ self.weights + self.level
        if isinstance(self.objective, Classify | Labels):
            found = 8 * (found - 0.5)
        return torch.from_numpy(found).float()


def series_in(task: Task) -> int:
    """Return the number of series whose features are found: those that are fitted on and those of the test."""
    return min(FIT_SERIES, task.size("train")) + task.size("test")


def features_for(series: int, length: int) -> int:
    """Return the features of a kernel that there is time for; 0 if there is time for too few, or series are short."""
    count = min(MOST_FEATURES, int(MOST_WORK / (series * length * KERNELS)))
    return count if count >= FEWEST_FEATURES and length >= TAPS else 0


def leave_one_out_ridge(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights ``(F, O)`` and level ``(O,)`` of ridge regression of y (N, O) on x (N, F) with mean 0.

    The penalty has the least squared error of each sample left out in turn, by the closed form for it.
    """
    level = y.mean(0)
    values, vectors = np.linalg.eigh(x @ x.T)
    values, projected = np.maximum(values, 0), vectors.T @ (y - level)
    best, least = np.zeros_like(y), np.inf
    for penalty in penalties:
        dual = vectors @ (projected / (values + penalty)[:, None])
        inverse = np.square(vectors) @ (1 / (values + penalty)) - 1 / (
            penalty * len(x)
        )  # the level is fitted too
        error = float(np.square(dual / np.maximum(inverse, 1e-12)[:, None]).sum())
        if error < least:
            best, least = dual, error
    return x.T @ best, level


def _series(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return series ``(B, C, T)``, 0 where there is none, and the mask ``(B, T)``."""
    mask = torch.ones(batch.x.shape[:2], dtype=torch.bool) if batch.mask is None else batch.mask
    return (batch.x * mask[..., None]).transpose(1, 2).contiguous(), mask
