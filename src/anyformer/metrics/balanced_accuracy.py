"""The share of right answers, each class alike."""

from __future__ import annotations

import numpy as np

from anyformer.metrics import register_metric
from anyformer.metrics._classes import OfConfusion


@register_metric("balanced_accuracy")
class BalancedAccuracy(OfConfusion):
    """The share of right answers (recall) of each class, and the mean over classes, however rare one is."""

    name = "balanced accuracy"

    def of(self, counts: np.ndarray) -> float:
        """The mean over the classes that the targets hold."""
        there = counts.sum(1)
        return float((counts.diagonal()[there > 0] / there[there > 0]).mean())
