"""Wrong characters of texts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anyformer.metrics import Ratio, register_metric
from anyformer.metrics._texts import OfTexts, edits, texts_of
from anyformer.questions import Target


@register_metric("character_error_rate")
class CharacterErrorRate(OfTexts, Ratio):
    """Edits that turn the texts into the right ones, for each character of the right ones (Morris 2004)."""

    name = "character error rate"
    higher_is_better = False
    limits = (0.0, math.inf)
    places = 3

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the edits and the characters of each sample, ``(B, 2)``."""
        stop = self.question.stop
        pairs = zip(texts_of(outputs, stop), texts_of(target.values, stop), strict=True)
        return torch.tensor(
            [[edits(mine, [right])[0], len(right)] for mine, right in pairs], dtype=torch.float64
        )
