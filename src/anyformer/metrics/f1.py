"""The F1 score, each class alike."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from anyformer.metrics import Metric, register_metric
from anyformer.metrics._classes import confusion, even_weights, labels, refuses_all_but_labels
from anyformer.questions import Question, Target


@register_metric("f1")
class MacroF1(Metric):
    """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN) of each class, and the mean over classes.

    Classes that neither the targets nor the answers hold are left out, as in scikit-learn.
    """

    name = "macro F1"
    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """All but one class a sequence."""
        return refuses_all_but_labels(question)

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """The true and the likeliest class of each sequence, ``(B, 2)``."""
        return labels(outputs, target)

    def value(self, items: np.ndarray) -> float:
        """The mean over classes."""
        if not len(items):
            return math.nan
        table = confusion(items)
        named = table.sum(0) + table.sum(1)
        return float((2 * table.diagonal()[named > 0] / named[named > 0]).mean())

    def weights(self, items: np.ndarray) -> np.ndarray:
        """Each class counts alike."""
        return even_weights(items[:, 0])
