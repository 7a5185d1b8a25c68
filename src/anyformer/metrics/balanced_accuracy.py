"""The share of right answers, each class alike."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from anyformer.metrics import Metric, register_metric
from anyformer.metrics._classes import confusion, even_weights, labels, refuses_all_but_labels
from anyformer.questions import Question, Target


@register_metric("balanced_accuracy")
class BalancedAccuracy(Metric):
    """The share of right answers (recall) of each class, and the mean over classes, however rare one is."""

    name = "balanced accuracy"
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
        """The mean over the classes that the targets hold."""
        if not len(items):
            return math.nan
        table = confusion(items)
        counts = table.sum(1)
        return float((table.diagonal()[counts > 0] / counts[counts > 0]).mean())

    def weights(self, items: np.ndarray) -> np.ndarray:
        """Each class counts alike."""
        return even_weights(items[:, 0])
