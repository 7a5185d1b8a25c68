"""The mean pinball loss of quantiles."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import summed
from anyformer.metrics._quantiles import PinballLoss
from anyformer.questions import Target


@register_metric("quantile_loss")
class QuantileLoss(PinballLoss):
    """The mean pinball loss of all quantiles in the user's units; of the median alone, half the absolute error.

    A quantile q of level p costs ``max(p (y - q), (p - 1) (y - q))`` (Koenker and Bassett 1978).
    """

    name = "quantile loss"

    @property
    def unit(self) -> str:
        """Return the unit of the column."""
        return self.question.field

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of losses, and their number, ``(B, 2)``."""
        return summed(self.losses(outputs, target), target)
