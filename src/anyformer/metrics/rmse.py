"""The root of the mean squared error."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from anyformer.metrics import Metric, register_metric
from anyformer.metrics._numbers import refuses_all_but_numbers, squared_errors
from anyformer.questions import Question, Target


@register_metric("rmse")
class RMSE(Metric):
    """The root of the mean squared error, in the user's units: large errors weigh more than in the MAE."""

    name = "RMSE"
    higher_is_better = False
    limits = (0.0, math.inf)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for numbers."""
        return refuses_all_but_numbers(question)

    @property
    def unit(self) -> str:
        """Return the unit of the column."""
        return self.question.field

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of squared errors, and their number, ``(B, 2)``."""
        return squared_errors(outputs, target, self.question)

    def value(self, items: np.ndarray) -> float:
        """Return the root; NaN if no number is known."""
        total, weight = items.sum(0)
        return math.sqrt(total / weight) if weight and total >= 0 else math.nan

    def weights(self, items: np.ndarray) -> np.ndarray:
        """Return the number of known numbers of each sample."""
        return items[:, 1]
