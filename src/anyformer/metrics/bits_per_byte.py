"""Bits for each byte of a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.questions import Question, Target, log_losses


@register_metric("bits_per_byte")
class BitsPerByte(Ratio):
    """Bits for each byte of a text coded by the model's probabilities."""

    name = "bits per byte"
    higher_is_better = False
    limits = (0.0, math.inf)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for the bytes of a text."""
        return None if question.field == "byte" else "measures the bytes of a text"

    @property
    def unit(self) -> str:
        """Return "bits"."""
        return "bits"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the bits and the bytes of each sample, ``(B, 2)``."""
        sums, counts = log_losses(outputs, target.values)
        return torch.stack([sums / math.log(2), counts], 1)
