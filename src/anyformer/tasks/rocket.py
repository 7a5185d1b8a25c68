"""MiniRocket: counts of what fixed dilated kernels find in series, and a ridge classifier on them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anyformer.objectives import Classify, Labels
from anyformer.tasks.base import Reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

TAPS = 9
"""Length of a kernel; shorter series have no features."""
KERNELS = 84
"""All kernels with three weights of 2 among weights of -1."""
MOST_FEATURES, FEWEST_FEATURES = 119, 8
"""Features of a kernel, over all dilations; fewer where the series are many and long."""
MOST_DILATIONS = 32
MOST_WORK = 2e10
"""Largest number of values that are compared, which takes some ten seconds."""
FIT_SERIES = 2000
"""Largest number of series that the ridge is fitted on."""
PENALTIES = np.logspace(-3, 3, 10)


class MiniRocket(Reference):
    """Ridge regression on MiniRocket's features (Dempster, Schmidt and Webb 2021), one output a class, label or number.

    Each feature is the share of the steps at which the convolution with a kernel exceeds a bias, which is a quantile
    of that convolution on some training series. Of several channels a kernel sees some, drawn at random, as in the
    authors' multivariate form. Shares are of the real steps, so that series may be of different lengths. The penalty is
    that with the least squared error when each training series is left out in turn.
    """

    def __init__(self) -> None:
        super().__init__("MiniRocket", "ridge regression on shares of steps at which fixed kernels respond")

    def fit(self, task: Task) -> MiniRocket:
        """Choose dilations, channels and biases on the train split, and fit the ridge."""
        self.objective = task.objective
        train = task.train_sample(FIT_SERIES)
        count = features_for(series_in(task), task.train_length)
        self.transform = Transform.of(*_series(train), count, np.random.default_rng(task.seed))
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
        parts = [self.transform(x[i : i + 64], mask[i : i + 64]) for i in range(0, len(x), 64)]
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


class Transform:
    """Kernels, dilations, channels and biases, fitted on training series."""

    def __init__(self, dilations: dict[int, int], weights: list[Tensor], biases: list[Tensor]) -> None:
        self.dilations, self.weights, self.biases = dilations, weights, biases

    @classmethod
    def of(cls, x: Tensor, mask: Tensor, count: int, rng: np.random.Generator) -> Transform:
        """Choose them for series ``(B, C, T)`` with a mask ``(B, T)``, ``count`` features a kernel."""
        dilations = dilations_for(x.shape[2], count)
        golden = np.arange(1, KERNELS * count + 1) * ((np.sqrt(5) + 1) / 2) % 1
        found, weights, biases = cls(dilations, [], []), list[Tensor](), list[Tensor]()
        start = 0
        for place, (dilation, features) in enumerate(dilations.items()):
            weight = _kernels()[:, None] * _channels(x.shape[1], rng)[..., None]
            quantiles = (
                torch.from_numpy(golden[start : start + KERNELS * features]).float().view(KERNELS, features)
            )
            start += KERNELS * features
            chosen = torch.from_numpy(rng.integers(len(x), size=KERNELS))
            bias = torch.empty(KERNELS, features)
            for kernel in range(KERNELS):
                one = chosen[kernel : kernel + 1]
                made = _convolved(x[one], weight[kernel : kernel + 1], dilation)[0, 0]
                counted = _counted(mask[one], place, dilation)[0, kernel]
                real = made[counted] if counted.any() else made
                bias[kernel] = torch.quantile(real, quantiles[kernel])
            weights.append(weight)
            biases.append(bias)
        found.weights, found.biases = weights, biases
        return found

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return shares ``(B, features)`` of series ``(B, C, T)`` with a mask ``(B, T)``."""
        found = []
        for place, dilation in enumerate(self.dilations):
            made = _convolved(x, self.weights[place], dilation)
            counted = _counted(mask, place, dilation)
            made = torch.where(counted, made, -torch.inf)
            steps = counted.sum(-1).clamp_min(1)
            for bias in self.biases[place].T:
                found.append((made > bias[:, None]).sum(-1) / steps)
        return torch.cat(found, 1)


def dilations_for(length: int, count: int) -> dict[int, int]:
    """Return dilations, ascending, each with the number of features that a kernel has of it, ``count`` in all."""
    tried = min(count, MOST_DILATIONS)
    exponents = np.linspace(0, np.log2((length - 1) / (TAPS - 1)), tried)
    dilations, times = np.unique(np.floor(2.0**exponents).astype(int), return_counts=True)
    shares = times * count // tried
    shares[: count - shares.sum()] += 1
    return {int(dilation): int(share) for dilation, share in zip(dilations, shares)}


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


def _kernels() -> Tensor:
    """Return the weights ``(KERNELS, TAPS)``."""
    found = torch.full((KERNELS, TAPS), -1.0)
    for row, places in enumerate(combinations(range(TAPS), 3)):
        found[row, list(places)] = 2.0
    return found


def _channels(channels: int, rng: np.random.Generator) -> Tensor:
    """Return 1 at the channels that each kernel sees ``(KERNELS, channels)``: one to nine, few more often."""
    found = torch.zeros(KERNELS, channels)
    most = np.log2(min(channels, TAPS) + 1)
    for row in found:
        row[rng.permutation(channels)[: max(1, int(2 ** rng.uniform(0, most)))]] = 1
    return found


def _convolved(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return functional.conv1d(x, weight, padding=TAPS // 2 * dilation, dilation=dilation)


def _counted(mask: Tensor, place: int, dilation: int) -> Tensor:
    """Return the steps that count of each kernel ``(B, KERNELS, T)``: of every other one only those with all taps."""
    whole = functional.conv1d(
        mask.float()[:, None], torch.ones(1, 1, TAPS), padding=TAPS // 2 * dilation, dilation=dilation
    )
    whole = whole[:, 0] > TAPS - 0.5
    padded = (torch.arange(KERNELS) + place) % 2 == 0
    return torch.where(padded[:, None], mask[:, None], whole[:, None])


def _series(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return series ``(B, C, T)``, 0 where there is none, and the mask ``(B, T)``."""
    mask = torch.ones(batch.x.shape[:2], dtype=torch.bool) if batch.mask is None else batch.mask
    return (batch.x * mask[..., None]).transpose(1, 2).contiguous(), mask
