"""The F1 score with equal weight for all classes."""

from __future__ import annotations

import numpy as np

from anyformer.metrics import register_metric
from anyformer.metrics._classes import OfConfusion


@register_metric("f1")
class MacroF1(OfConfusion):
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    Classes that occur in neither targets nor answers are left out, as in scikit-learn.
    """

    name = "macro F1"

    def of(self, counts: np.ndarray) -> float:
        """Return the mean over classes."""
        named = counts.sum(0) + counts.sum(1)
        return float((2 * counts.diagonal()[named > 0] / named[named > 0]).mean())
