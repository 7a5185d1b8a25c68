"""Nearest neighbours: what the training samples have that are most like a sample, also where time is warped."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from anyformer.objectives import Classify, Labels
from anyformer.tasks.base import Reference
from anyformer.tasks.references import score_reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

MOST_SAMPLES = 5000
"""Largest number of training samples among which neighbours are looked for."""
COUNTS = (1, 3, 10)
"""Numbers of neighbours that the validation split chooses from."""
BAND = 0.1
"""Share of the length by which time may be warped."""
MOST_CELLS = 1e9
"""Largest number of cells of all tables of warped distances, which takes some ten seconds."""
FEWEST = 20
"""Fewest training samples, where there are more, among which a warped neighbour is worth looking for."""


class Nearest(Reference):
    """The answers of the nearest training samples, weighted by the inverse of their distances.

    How many, and by which metric, is chosen by the validation split.
    """

    counts: tuple[int, ...] = COUNTS
    metrics: tuple[str, ...] = ("euclidean",)
    metric: str = "euclidean"

    @abstractmethod
    def features(self, batch: Batch) -> Tensor:
        """Return what is compared of each sample, ``(B, ...)``."""

    def distances(self, x: Tensor) -> Tensor:
        """Return the distances ``(B, samples)`` of features to those of the training samples."""
        return torch.cdist(x.flatten(1), self.known.flatten(1))

    def most(self, task: Task) -> int:
        """Return the number of training samples that are kept."""
        return MOST_SAMPLES

    def fit(self, task: Task) -> Nearest:
        """Keep the training samples, and choose the number of neighbours and the metric."""
        self.objective = task.objective
        batch = task.train_sample(self.most(task))
        self.answers = batch.targets.reshape(len(batch), -1).float().nan_to_num()
        if isinstance(self.objective, Classify):
            self.answers = one_hot(batch.targets, self.objective.num_classes).float()
        metrics, counts = self.metrics, [count for count in self.counts if count <= len(batch)]
        scores = dict[tuple[str, int], float]()
        for self.metric in metrics:
            self.known = self.features(batch)
            for self.count in counts if len(metrics) * len(counts) > 1 else []:
                score = task.metric.info.sign * score_reference(self, task, "valid", items=512)
                scores[self.metric, self.count] = -np.inf if np.isnan(score) else score
        self.metric, self.count = max(scores, key=lambda one: scores[one], default=(metrics[0], counts[0]))
        if self.metric != metrics[-1]:
            self.known = self.features(batch)
        self.parameters = self.known.numel()
        if len(batch) < task.size("train"):
            self.description += f", among {len(batch)} of the training samples"
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return logits or values ``(B, num_outputs)``."""
        found = [self._answer(part) for part in self.features(batch).split(256)]
        return torch.cat(found)

    def _answer(self, x: Tensor) -> Tensor:
        distances, places = self.distances(x).topk(self.count, largest=False)
        weights = 1 / (distances + 1e-6 + 1e-3 * distances.mean(1, keepdim=True))
        weights = weights / weights.sum(1, keepdim=True)
        shares = torch.einsum("bk,bko->bo", weights, self.answers[places])
        if isinstance(self.objective, Classify):
            return (shares + 0.01).log()
        return (shares.clamp(0.01, 0.99)).logit() if isinstance(self.objective, Labels) else shares


class NearestSeries(Nearest):
    """Nearest neighbours of whole series, step by step."""

    def __init__(self) -> None:
        super().__init__(
            "nearest neighbour", "the nearest training series, step by step, their number by validation"
        )

    def features(self, batch: Batch) -> Tensor:
        """Return series ``(B, T, F)``, 0 where there is none."""
        return batch.x if batch.mask is None else batch.x * batch.mask[..., None]


class WarpedNearest(NearestSeries):
    """The nearest neighbour by dynamic time warping (Sakoe and Chiba 1978), in a band of a tenth of the length."""

    counts = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.name = "warped neighbour"
        self.description = f"the nearest training series, time warped by up to {100 * BAND:.0f} %"

    def most(self, task: Task) -> int:
        """Return the number of training series whose tables there is time for."""
        return affordable(task.size("test"), task.train_length)

    def distances(self, x: Tensor) -> Tensor:
        """Return the warped distances ``(B, samples)``."""
        return torch.cat([warped(part, self.known) for part in x.split(8)])


def affordable(tested: int, length: int) -> int:
    """Return the number of training series that as many test series of a length can be compared with."""
    return int(min(MOST_SAMPLES, MOST_CELLS / (tested * length * (2 * band_of(length) + 1))))


def band_of(length: int) -> int:
    """Return the steps by which time may be warped."""
    return max(1, int(BAND * length))


def warped(x: Tensor, others: Tensor) -> Tensor:
    """Return the root of the sums of squares along the best alignments of x ``(A, T, F)`` with others ``(B, T, F)``.

    D[i, j] = |x_i - y_j|^2 + min(D[i-1, j], D[i, j-1], D[i-1, j-1]), in a band; all i + j = n at once, in turn.

    Returns:
        ``(A, B)``.
    """
    A, T, B = len(x), x.shape[1], len(others)
    band = band_of(T)
    before = torch.full(
        (A, B, T + 1), torch.inf
    )  # D of i + j = n - 1 at i + 1; no step comes before the first
    two = before.clone()
    for n in range(2 * T - 1):
        low, high = max(0, n - T + 1, -(-(n - band) // 2)), min(T - 1, n, (n + band) // 2)
        rows = torch.arange(low, high + 1)
        costs = (x[:, None, rows] - others[None][:, :, n - rows]).square().sum(-1)
        least = torch.minimum(before[..., low : high + 1], before[..., low + 1 : high + 2])
        least = torch.minimum(least, two[..., low : high + 1]) if n else torch.zeros_like(costs)
        now = torch.full_like(before, torch.inf)
        now[..., low + 1 : high + 2] = costs + least
        two, before = before, now
    return before[..., T].sqrt()
