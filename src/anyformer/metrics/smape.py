"""The symmetric mean absolute percentage error."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._numbers import MeanError, errors, summed
from anyformer.questions import Target


@register_metric("smape")
class SMAPE(MeanError):
    """The mean of 200 |y - f| / (|y| + |f|), in percent, as in the M4 competition (Makridakis et al. 2020).

    It is 0 where both are 0, and at most 200: near zero, the smallest error counts as much as a large one.
    """

    name = "sMAPE"
    limits = (0.0, 200.0)

    @property
    def unit(self) -> str:
        """Return "%"."""
        return "%"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of percentages, and their number, ``(B, 2)``."""
        error, true = errors(outputs.double(), target, self.question), target.values.double()
        if target.scale is not None:
            true = true * target.scale
        if target.shift is not None:
            true = true + target.shift
        size = true.abs() + (true + error).abs()
        return summed(200 * torch.where(size > 0, error.abs() / size, 0.0), target)
