"""The mean pinball loss of quantiles, scaled like the MASE."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import summed
from anyformer.metrics._quantiles import PinballLoss
from anyformer.questions import Question, Target


@register_metric("scaled_quantile_loss")
class ScaledQuantileLoss(PinballLoss):
    """The mean pinball loss of all quantiles, divided by the mean seasonal difference in training of series and column.

    It is to :class:`~anyformer.metrics.quantile_loss.QuantileLoss` what the MASE is to the mean absolute error.
    """

    name = "scaled quantile loss"
    scaled = True

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for quantiles of series."""
        if reason := super().refuses(question):
            return reason
        return None if question.scaled else "measures forecasts of series"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of scaled losses, and their number, ``(B, 2)``."""
        assert target.difference is not None
        losses = self.losses(outputs, target)
        return summed(losses / target.difference, target)
