"""Base classes of metrics of one class for each sequence."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics._base import Metric
from anyformer.questions import Question, Target


class OfClasses(Metric):
    """A metric between 0 and 1 in which all classes have equal weight, however many samples they have."""

    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for one class of each sequence."""
        if question.kind == "class" and question.place == "whole":
            return None
        asked = "a class at each place" if question.kind == "class" else question.what
        return f"measures one class a sequence, not {asked}"

    def weights(self, items: np.ndarray) -> np.ndarray:
        """Return weights inverse to the frequency of each sample's class.

        They sum to the effective sample size, (sum w)^2 / sum w^2 (Kish 1965).
        """
        _, codes, counts = np.unique(items[:, 0], return_inverse=True, return_counts=True)
        weights = 1 / counts[codes.ravel()]
        found: np.ndarray = weights * weights.sum() / np.square(weights).sum()
        return found


class OfConfusion(OfClasses):
    """A function of the confusion matrix."""

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the true and the predicted class of each sequence, ``(B, 2)``."""
        return torch.stack([target.values, outputs.argmax(-1)], 1)

    def value(self, items: np.ndarray) -> float:
        """Return the function of the confusion matrix; NaN if there is no sample."""
        if not len(items):
            return math.nan
        true, told = items.T.astype(np.int64)
        size = int(items.max()) + 1
        return self.of(np.bincount(true * size + told, minlength=size * size).reshape(size, size))

    @abstractmethod
    def of(self, counts: np.ndarray) -> float:
        """Return the value of a confusion matrix ``(C, C)``, rows being true classes. Classes may be missing."""


def average_precision(right: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision of one class, equal scores being one threshold."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of equal scores
    found = np.cumsum(right[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / found[-1])
