"""The F1 score, each class alike."""

from __future__ import annotations

import numpy as np

from anyformer.metrics import register_metric
from anyformer.metrics._classes import OfConfusion


@register_metric("f1")
class MacroF1(OfConfusion):
    """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN) of each class, and the mean over classes.

    Classes that neither the targets nor the answers hold are left out, as in scikit-learn.
    """

    name = "macro F1"

    def of(self, counts: np.ndarray) -> float:
        """The mean over classes."""
        named = counts.sum(0) + counts.sum(1)
        return float((2 * counts.diagonal()[named > 0] / named[named > 0]).mean())
