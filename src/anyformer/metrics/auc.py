"""The area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._classes import OfClasses
from anyformer.questions import Question, Target


@register_metric("auc")
class AUC(OfClasses):
    """The area under the ROC curve of two classes.

    The probability that a sequence of one class has a higher score for it than a sequence of the other; equal scores
    count half (Mann and Whitney 1947). It is the same for either class.
    """

    name = "AUC"

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for one of two classes of each sequence."""
        if reason := super().refuses(question):
            return reason
        return (
            None
            if question.num_classes == 2
            else f"measures two classes, and there are {question.num_classes}"
        )

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the class of each sequence, and the second logit less the first, ``(B, 2)``."""
        outputs = outputs.double()
        return torch.stack([target.values.double(), outputs[:, 1] - outputs[:, 0]], 1)

    def value(self, items: np.ndarray) -> float:
        """Return the area; NaN if a class is missing or a score is NaN."""
        second = items[:, 0] == 1
        ones, zeros = int(second.sum()), int((~second).sum())
        if not ones or not zeros or np.isnan(items[:, 1]).any():
            return math.nan
        below = rankdata(items[:, 1])[second].sum() - ones * (ones + 1) / 2
        return float(below / (ones * zeros))
