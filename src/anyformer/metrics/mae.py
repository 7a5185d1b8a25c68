"""The mean absolute error."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import MeanError, errors, summed
from anyformer.questions import Target


@register_metric("mae")
class MAE(MeanError):
    """The mean absolute error in the user's units."""

    name = "MAE"

    @property
    def unit(self) -> str:
        """Return the unit of the column."""
        return self.question.field

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of absolute errors, and their number, ``(B, 2)``."""
        return summed(errors(outputs.double(), target, self.question).abs(), target)
