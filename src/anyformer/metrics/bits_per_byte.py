"""Bits for each byte of a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.questions import PIECE, Question, Target, log_losses


@register_metric("bits_per_byte")
class BitsPerByte(Ratio):
    """Bits for each byte of a text coded by the model's probabilities, whether of bytes or of tokens of several."""

    name = "bits per byte"
    higher_is_better = False
    limits = (0.0, math.inf)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for the bytes of a text."""
        return None if question.field in ("byte", PIECE) else "measures the bytes of a text"

    @property
    def unit(self) -> str:
        """Return "bits"."""
        return "bits"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the bits and the bytes of each sample, ``(B, 2)``."""
        sums, counts = log_losses(outputs, target.values)
        if target.sizes is not None:
            counts = target.sizes.where(target.values >= 0, 0).sum(1).double()
        return torch.stack([sums / math.log(2), counts], 1)
