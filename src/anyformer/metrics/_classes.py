"""What metrics of one class a sequence share."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics._base import Metric
from anyformer.questions import Question, Target


class OfClasses(Metric):
    """A share between 0 and 1 to which each class counts alike, however many samples it has."""

    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """All but one class a sequence."""
        if question.kind == "class" and question.place == "whole":
            return None
        asked = "numbers" if question.kind == "number" else "a class at each place"
        return f"measures one class a sequence, not {asked}"

    def weights(self, items: np.ndarray) -> np.ndarray:
        """The inverse of how often the class of each sample is there.

        They sum to so many samples as would tell as much if all counted alike: (sum w)^2 / sum w^2 (Kish 1965).
        """
        _, codes, counts = np.unique(items[:, 0], return_inverse=True, return_counts=True)
        weights = 1 / counts[codes.ravel()]
        found: np.ndarray = weights * weights.sum() / np.square(weights).sum()
        return found


class OfConfusion(OfClasses):
    """A function of how often each class was told as each other."""

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """The true and the likeliest class of each sequence, ``(B, 2)``."""
        return torch.stack([target.values, outputs.argmax(-1)], 1)

    def value(self, items: np.ndarray) -> float:
        """The function of the counts; NaN where there is no sample."""
        if not len(items):
            return math.nan
        true, told = items.T.astype(np.int64)
        size = int(items.max()) + 1
        return self.of(np.bincount(true * size + told, minlength=size * size).reshape(size, size))

    @abstractmethod
    def of(self, counts: np.ndarray) -> float:
        """The value of counts ``(C, C)``: a row is what a class was told as. Classes may be missing."""
