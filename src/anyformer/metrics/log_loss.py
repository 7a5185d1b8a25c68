"""The cross-entropy of the right classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.questions import Question, Target, log_losses


@register_metric("log_loss")
class LogLoss(Ratio):
    """The mean of -ln p of the right classes, in nats; an ``UNKNOWN`` one is left out, as it has no probability."""

    name = "log loss"
    higher_is_better = False
    limits = (0.0, math.inf)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse questions for numbers."""
        return None if question.kind == "class" else f"measures probabilities of classes, not {question.what}"

    @property
    def unit(self) -> str:
        """Return "nats"."""
        return "nats"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of losses and the number of answers of each sample, ``(B, 2)``."""
        return torch.stack(log_losses(outputs, target.values), 1)
