"""The F1 score with equal weight for all labels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._labels import OfLabels, hits
from anyformer.questions import Target


@register_metric("macro_f1")
class MacroF1OfLabels(OfLabels):
    """The mean over labels of F1 = 2 TP / (2 TP + FP + FN).

    Labels that occur in neither targets nor answers are left out, as classes are by ``f1``.
    """

    name = "macro F1"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return TP and 2 TP + FP + FN of each label, ``(B, 2 L)``."""
        return torch.cat(hits(outputs, target), 1).double()

    def value(self, items: np.ndarray) -> float:
        """Return the mean over labels; NaN if none occurs."""
        return float(_mean(items.sum(0)[None])[0])

    def pieces(self, items: np.ndarray, owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the jackknife of the base class, from the sums of groups."""
        sums = np.zeros((count, items.shape[1]))
        np.add.at(sums, owner, items)
        weights, total = np.bincount(owner, minlength=count), len(items)
        without = _mean(sums.sum(0) - sums) if count > 1 else np.array([math.nan])
        whole = self.value(items)
        if not np.isfinite(without).all():
            return np.array([whole * total]), np.array([float(total)])
        found = weights * whole + (total - weights) * (whole - without)
        return found[weights > 0], weights[weights > 0].astype(float)


def _mean(sums: np.ndarray) -> np.ndarray:
    """Return the mean over labels for each row of sums ``(R, 2 L)``; NaN where none occurs."""
    right, named = np.split(sums, 2, axis=1)
    there = named > 0
    total = np.where(there, 2 * right / np.maximum(named, 1), 0).sum(1)
    found: np.ndarray = np.where(there.any(1), total / np.maximum(there.sum(1), 1), math.nan)
    return found
