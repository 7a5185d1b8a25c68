"""Accuracy with equal weight for all classes."""

from __future__ import annotations

import numpy as np

from anyformer.metrics import register_metric
from anyformer.metrics._classes import OfConfusion


@register_metric("balanced_accuracy")
class BalancedAccuracy(OfConfusion):
    """The mean recall over classes, however rare one is."""

    name = "balanced accuracy"

    def of(self, counts: np.ndarray) -> float:
        """Return the mean over the classes that occur in the targets."""
        there = counts.sum(1)
        return float((counts.diagonal()[there > 0] / there[there > 0]).mean())
