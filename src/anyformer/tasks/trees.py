"""Gradient-boosted trees, the usual choice for rows of a table and for aggregates of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from anyformer.objectives import Classify, Labels
from anyformer.tasks.label_references import one_for_each
from anyformer.tasks.references import FittedReference

if TYPE_CHECKING:
    from anyformer.tasks.batch import Batch

MOST_CATEGORIES = 254
"""Codes of a category that trees tell apart: scikit-learn's limit less one, for all others."""
MOST_CLASSES = 50
"""With more classes no trees are fitted: each class has trees of its own."""


class BoostedTrees(FittedReference):
    """Histogram-based gradient boosting (Ke et al. 2017), by scikit-learn, on a fixed number of features a sample.

    A record is taken as it is. Of a sequence the features are the number of its elements; the mean, deviation, least,
    greatest, first and last value of each number; and the first, last and commonest code of each category.

    Args:
        whole: samples are records: their numbers are features as they are.
    """

    penalties = (7, 31)
    """Leaves of a tree."""
    samples = 20_000

    def __init__(self, *, whole: bool) -> None:
        what = "all columns" if whole else "aggregates of the sequence"
        super().__init__("boosted trees", f"gradient-boosted trees on {what}, their size by validation")
        self.whole = whole

    def features(self, batch: Batch) -> np.ndarray:
        """Return features ``(B, F)`` float64; codes of categories are in the last columns."""
        inputs = {"": batch.inputs} if isinstance(batch.inputs, Tensor) else batch.inputs
        numbers, codes = list[np.ndarray](), list[np.ndarray]()
        for value in inputs.values():
            kept, values = codes, value.numpy()
            if value.is_floating_point():
                kept = numbers
            else:
                values = np.minimum(values, MOST_CATEGORIES)
            if self.whole:
                kept.append(values.reshape(len(values), -1))
            else:
                mask = np.ones(values.shape[:2], bool) if batch.mask is None else batch.mask.numpy()
                kept.append(_of_numbers(values, mask) if kept is numbers else _of_codes(values, mask))
        if not self.whole and batch.mask is not None:
            numbers.append(batch.mask.sum(1, keepdim=True).numpy())
        self.num_codes = sum(part.shape[1] for part in codes)
        found: np.ndarray = np.concatenate([*numbers, *codes], 1).astype(np.float64)
        return found

    def _fit_one(self, x: np.ndarray, y: np.ndarray, penalty: float) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.multioutput import MultiOutputRegressor

        settings: dict[str, Any] = {
            "max_leaf_nodes": int(penalty),
            "max_iter": 200,
            "min_samples_leaf": max(1, min(20, len(x) // 20)),
            "early_stopping": len(x) > 1000,
            "random_state": 0,
            "categorical_features": np.arange(x.shape[1]) >= x.shape[1] - self.num_codes,
        }
        if isinstance(self.objective, Labels):
            return one_for_each(HistGradientBoostingClassifier(**settings), x, y)
        if not isinstance(self.objective, Classify):
            return MultiOutputRegressor(HistGradientBoostingRegressor(**settings)).fit(x, y)
        if len(np.unique(y)) == 1:
            return int(y[0, 0])
        return HistGradientBoostingClassifier(**settings).fit(x, y[:, 0])


def _of_numbers(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return aggregates ``(N, 6 F)`` of numbers ``(N, T, F)``."""
    real = mask[..., None]
    count = np.maximum(real.sum(1), 1)
    mean = np.where(real, values, 0).sum(1) / count
    deviation = np.sqrt(np.where(real, np.square(values - mean[:, None]), 0).sum(1) / count)
    least = np.where(real, values, np.inf).min(1)
    greatest = np.where(real, values, -np.inf).max(1)
    first, last = _ends(values, mask)
    return np.concatenate([mean, deviation, least, greatest, first, last], 1)


def _of_codes(codes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the first, last and commonest code ``(N, 3)`` of codes ``(N, T)``."""
    counts = np.zeros((len(codes), MOST_CATEGORIES + 1), np.int64)
    np.add.at(counts, (np.nonzero(mask)[0], codes[mask]), 1)
    return np.stack([*_ends(codes, mask), counts.argmax(1)], 1)


def _ends(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last real element of each sequence."""
    rows = np.arange(len(values))
    return values[rows, mask.argmax(1)], values[rows, mask.shape[1] - 1 - mask[:, ::-1].argmax(1)]
