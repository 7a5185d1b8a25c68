"""The mean absolute scaled error."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import MeanError, errors, summed
from anyformer.questions import Question, Target


@register_metric("mase")
class MASE(MeanError):
    """The mean absolute error, divided by the mean seasonal difference in the train split of each series and column.

    Below 1, forecasts are better than seasonal naive ones were in the train split (Hyndman and Koehler 2006).
    """

    name = "MASE"
    scaled = True

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but forecasts."""
        if reason := super().refuses(question):
            return reason
        return None if question.scaled else "measures forecasts of series"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of scaled absolute errors, and their number, ``(B, 2)``."""
        assert target.difference is not None
        error = errors(outputs.double(), target, self.question).abs()
        return summed(error / target.difference, target)
