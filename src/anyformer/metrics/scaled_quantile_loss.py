"""The mean pinball loss of quantiles, scaled like the MASE."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import summed
from anyformer.metrics._quantiles import PinballLoss
from anyformer.questions import Question, Target


@register_metric("scaled_quantile_loss")
class ScaledQuantileLoss(PinballLoss):
    """The mean pinball loss of all quantiles, divided by the column's mean seasonal difference in the train split.

    It is to :class:`~anyformer.metrics.quantile_loss.QuantileLoss` what the MASE is to the mean absolute error.
    """

    name = "scaled quantile loss"

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for quantiles of series."""
        if reason := super().refuses(question):
            return reason
        return None if question.scales else "measures forecasts of series"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of scaled losses, and their number, ``(B, 2)``."""
        losses = self.losses(outputs, target)
        return summed(losses / losses.new_tensor(self.question.scales), target)
