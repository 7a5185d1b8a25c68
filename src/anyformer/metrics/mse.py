"""The mean squared error."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import MeanError, squared_errors
from anyformer.questions import Target


@register_metric("mse")
class MSE(MeanError):
    """The mean squared error in the user's units, squared."""

    name = "mse"

    @property
    def unit(self) -> str:
        """Return the square of the column's unit."""
        return f"{self.question.field}²" if self.question.field else ""

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of squared errors, and their number, ``(B, 2)``."""
        return squared_errors(outputs, target, self.question)
