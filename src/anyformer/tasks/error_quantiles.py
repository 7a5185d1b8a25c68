"""Quantiles of a point forecast: it, plus the quantiles of its errors in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anyformer.tasks.base import Reference, Task
from anyformer.tasks.batch import Batch
from anyformer.tasks.references import FIT_SAMPLES

PLUS = ", plus quantiles of its training errors"


class ErrorQuantiles(Reference):
    """A point forecast, plus the quantiles of its errors on the train split at each step ahead.

    Errors are in deviations of the window before them, as inputs are, so that restless windows get wide intervals.

    Args:
        point: the forecast.
        levels: of the quantiles.
    """

    def __init__(self, point: Reference, levels: Sequence[float]) -> None:
        super().__init__(point.name, f"{point.description}{PLUS}")
        self.point, self.levels = point, list(levels)

    def fit(self, task: Task) -> ErrorQuantiles:
        """Fit the point forecast, then the quantiles of its errors; 0 at a step without any known number."""
        self.point.fit(task)
        self.description = f"{self.point.description}{PLUS}"
        batch = task.train_sample(FIT_SAMPLES)
        errors = (batch.targets.flatten(1) - self.point.predict(batch)).double().numpy()
        blind = np.isnan(errors).all(0)
        found = np.nanquantile(np.where(blind, 0, errors), self.levels, axis=0)
        self.offsets = torch.from_numpy(found.T.astype(np.float32))
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return quantiles ``(B, horizon * num_variates * Q)``."""
        return (self.point.predict(batch)[..., None] + self.offsets).flatten(1)
