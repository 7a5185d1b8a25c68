"""The F1 score of spans that tags stand for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics import Metric, register_metric
from anyformer.metrics._spans import SpanTags, are_spans
from anyformer.questions import IGNORED, Question, Target, compacted


@register_metric("span_f1")
class SpanF1(Metric):
    """F1 = 2 TP / (predicted + true spans) of all samples together; a span counts if its ends and its type are right.

    Spans are read from the tags by the rules of CoNLL-2000's ``conlleval`` (Tjong Kim Sang and Buchholz 2000): one also
    begins at an I- without a B- before it.
    """

    name = "span F1"
    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    def __init__(self, question: Question, **given: Any) -> None:
        super().__init__(question, **given)
        self.tags = SpanTags(question.names)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for tags of spans."""
        if question.kind == "class" and question.place == "each" and are_spans(question.names):
            return None
        return "measures spans of tags such as B-PER, I-PER and O"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the numbers of right, of predicted and of true spans of each sample, ``(B, 3)``."""
        index, real = compacted(target.values != IGNORED)
        true = target.values.gather(1, index).clamp(min=0)
        told = outputs.argmax(-1).gather(1, index)
        (true_ends, true_starts), (told_ends, told_starts) = (
            self.tags.edges(classes, real) for classes in (true, told)
        )
        right = true_ends & told_ends & (true_starts == told_starts)
        return torch.stack([found.sum(1) for found in (right, told_ends, true_ends)], 1).double()

    def value(self, items: np.ndarray) -> float:
        """Return the score; NaN if no span is true or predicted."""
        right, told, true = (float(column.sum()) for column in items.T)
        return 2 * right / (told + true) if told + true else math.nan
