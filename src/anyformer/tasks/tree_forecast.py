"""The forecast of boosted trees: one model of all steps ahead, usual where much is known besides the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from anyformer.tasks.references import LastValue, window_of
from anyformer.tasks.trees import MOST_CATEGORIES

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

MOST_LAGS = 64
"""Largest number of a window's last values that are features."""
MOST_ROWS = 40_000
"""Largest number of steps ahead that trees are fitted on."""
LEAVES = (7, 31)


class TreeForecast(LastValue):
    """Histogram-based gradient boosting (Ke et al. 2017), by scikit-learn, of each step ahead less the last value.

    Features are the number of the step, the window's last values less the last one, and the covariates of the step, or
    of the window's last where they are not known ahead. Trees minimise the absolute error, in the metric's units; their
    size is chosen by the validation split.
    """

    def __init__(self, columns: list[int]) -> None:
        super().__init__(columns)
        self.name = "boosted trees"
        self.description = "gradient-boosted trees on the window and a step's covariates, size by validation"

    def fit(self, task: Task) -> TreeForecast:
        """Fit trees of each size for each target, and keep the best on the validation split."""
        super().fit(task)
        self.scaled = task.metric.scaled
        train, valid = (task.sample(split, max(1, MOST_ROWS // self.horizon)) for split in ("train", "valid"))
        self.models = [self._best(train, valid, place) for place in range(len(self.columns))]
        return self

    def _best(self, train: Batch, valid: Batch, place: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        y, weights = self._ahead(train, place)
        known = ~np.isnan(y)
        x, codes = self._features(train, place)
        wanted, units = self._ahead(valid, place)
        found = []
        for leaves in LEAVES:
            model = HistGradientBoostingRegressor(
                loss="absolute_error",
                max_leaf_nodes=leaves,
                max_iter=100,
                early_stopping=known.sum() > 1000,
                random_state=0,
                categorical_features=np.arange(x.shape[1]) >= x.shape[1] - codes,
            ).fit(x[known], y[known], sample_weight=weights[known])
            error = np.abs(model.predict(self._features(valid, place)[0]) - wanted) * units
            found.append((float(np.nansum(error)), model))
        return min(found, key=lambda pair: pair[0])[1]

    def _ahead(self, batch: Batch, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return next values less the last, and what a deviation is worth in the metric: ``(B * horizon,)``."""
        assert batch.scale is not None and batch.difference is not None
        y = batch.targets[..., place] - window_of(batch)[:, -1:, self.columns[place]]
        units = batch.scale[:, 0, place] / (batch.difference[:, 0, place] if self.scaled else 1)
        return y.double().flatten().numpy(), units.repeat_interleave(self.horizon).numpy()

    def _features(self, batch: Batch, place: int) -> tuple[np.ndarray, int]:
        """Return features ``(B * horizon, F)``, and how many of them are codes of categories, the last ones."""
        window = window_of(batch)[:, -MOST_LAGS:, self.columns[place]].double()
        assert not isinstance(batch.inputs, Tensor)
        fields = dict(batch.inputs)
        if batch.source is None:  # the first field is the window
            fields = {
                name: v[:, -1:].expand(-1, self.horizon, *v.shape[2:]) for name, v in list(fields.items())[1:]
            }
        steps = torch.arange(self.horizon, dtype=torch.float64).expand(len(batch), -1)[..., None]
        lags = (window - window[:, -1:])[:, None, :-1].expand(-1, self.horizon, -1)
        numbers = [steps, lags, *(v.double() for v in fields.values() if v.is_floating_point())]
        codes = [
            v.clamp(max=MOST_CATEGORIES)[..., None] for v in fields.values() if not v.is_floating_point()
        ]
        found = torch.cat([*numbers, *(code.double() for code in codes)], -1)
        return found.flatten(0, 1).numpy(), len(codes)

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        found = super().predict(batch).unflatten(1, (self.horizon, -1)).double()
        for place, model in enumerate(self.models):
            more = model.predict(self._features(batch, place)[0])
            found[..., place] += torch.from_numpy(more).view(-1, self.horizon)
        return found.flatten(1).float()
