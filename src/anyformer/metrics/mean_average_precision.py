"""The area under the curves of precision and recall of labels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._classes import average_precision
from anyformer.metrics._labels import OfLabels
from anyformer.questions import Target


@register_metric("mean_average_precision")
class MeanAveragePrecision(OfLabels):
    """The mean over labels of the average precision of each, which needs no threshold of probability.

    It is that of :mod:`anyformer.metrics.average_precision`, as in scikit-learn. Labels that no sequence has are left
    out.
    """

    name = "mean average precision"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return which labels each sequence has, and their logits, ``(B, 2 L)``."""
        return torch.cat([target.values.double(), outputs.double()], 1)

    def value(self, items: np.ndarray) -> float:
        """Return the mean; NaN if no label is there, or a score is NaN."""
        there, scores = np.split(items, 2, axis=1)
        known = np.flatnonzero((there > 0).any(0))
        if not len(known) or np.isnan(items).any():
            return math.nan
        return float(np.mean([average_precision(there[:, one] > 0, scores[:, one]) for one in known]))
