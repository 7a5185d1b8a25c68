"""The share of answers that are right as a whole."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.questions import IGNORED, Question, Target


@register_metric("exact_match")
class ExactMatch(Ratio):
    """The share of samples whose tokens are all predicted right.

    The model is given the right earlier tokens. Greedy decoding, which is given its own, writes the right answer for
    the same samples: up to the first wrong token both are given the same.
    """

    name = "exact match"
    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for an answer that is written token by token."""
        return "measures answers that are written token by token" if question.stop is None else None

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return 1 or 0 for each sample, and 1 for those of which anything is asked, ``(B, 2)``."""
        asked = target.values != IGNORED
        right = ((outputs.argmax(-1) == target.values) | ~asked).all(1)
        counts = asked.any(1)
        return torch.stack([right & counts, counts], 1).double()
