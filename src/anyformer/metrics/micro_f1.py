"""The F1 score of all labels together."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.metrics._labels import OfLabels, hits
from anyformer.questions import Target


@register_metric("micro_f1")
class MicroF1(OfLabels, Ratio):
    """F1 = 2 TP / (2 TP + FP + FN) over all pairs of a sequence and a label: frequent labels count most."""

    name = "micro F1"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return 2 TP and 2 TP + FP + FN of each sequence, ``(B, 2)``."""
        right, named = hits(outputs, target)
        return torch.stack([2 * right.sum(1), named.sum(1)], 1).double()
