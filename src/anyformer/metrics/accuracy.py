"""The share of right answers."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.questions import IGNORED, Question, Target


@register_metric("accuracy")
class Accuracy(Ratio):
    """The share of classes, or tokens, that are predicted right."""

    name = "accuracy"
    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse questions for numbers."""
        return None if question.kind == "class" else f"measures classes, not {question.what}"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the numbers of right answers and of targets, ``(B, 2)``."""
        asked = target.values != IGNORED
        right = (outputs.argmax(-1) == target.values) & asked
        return torch.stack([found[:, None].flatten(1).sum(1) for found in (right, asked)], 1).double()
