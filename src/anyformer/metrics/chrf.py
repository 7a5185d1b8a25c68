"""The character n-gram F-score."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._texts import OfTexts, texts_of
from anyformer.questions import Target

ORDERS = 6
BETA = 2


@register_metric("chrf")
class ChrF(OfTexts):
    """chrF2: precision and recall of character 1- to 6-grams, averaged, recall with twice the weight (Popovic 2015).

    As sacrebleu computes it: counts are summed over all texts, without white space, and orders that either side lacks
    are left out.
    """

    name = "chrF"
    higher_is_better = True
    limits = (0.0, 100.0)
    places = 1

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return, for each order, the n-grams of the text, of the right one and of both, ``(B, 18)``."""
        stop = self.question.stop
        found = []
        for pair in zip(texts_of(outputs, stop), texts_of(target.values, stop), strict=True):
            mine, right = ("".join(text.split()) for text in pair)
            row = []
            for n in range(1, ORDERS + 1):
                ours, theirs = _grams(mine, n), _grams(right, n)
                # as in sacrebleu, n-grams are not counted against an empty side
                row += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
            found.append(row)
        return torch.tensor(found, dtype=torch.float64).reshape(len(found), 3 * ORDERS)

    def value(self, items: np.ndarray) -> float:
        """Return the score of the summed counts."""
        mine, right, both = items.sum(0).reshape(ORDERS, 3).T
        known = (mine > 0) & (right > 0)
        if not both[known].any():
            return 0.0
        precision, recall = (both[known] / mine[known]).mean(), (both[known] / right[known]).mean()
        return float(100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall))


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
