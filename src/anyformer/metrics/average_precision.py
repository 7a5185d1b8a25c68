"""The area under the curves of precision and recall."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._classes import OfClasses, average_precision
from anyformer.questions import Target


@register_metric("average_precision")
class AveragePrecision(OfClasses):
    """The mean over classes of the average precision of each against all others.

    The average precision of a class is the sum of (R_n - R_{n-1}) P_n over all thresholds of its probability, P_n being
    the precision and R_n the recall at the n-th, as in scikit-learn. Classes without a sequence are left out.
    """

    name = "average precision"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the class of each sequence, and the log-probability of every class, ``(B, 1 + C)``."""
        return torch.cat([target.values[:, None].double(), outputs.double().log_softmax(1)], 1)

    def value(self, items: np.ndarray) -> float:
        """Return the mean; NaN if all sequences are of one class, or a score is NaN."""
        classes = np.unique(items[:, 0])
        if len(classes) < 2 or np.isnan(items).any():
            return math.nan
        return float(
            np.mean([average_precision(items[:, 0] == one, items[:, 1 + int(one)]) for one in classes])
        )
