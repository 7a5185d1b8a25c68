"""The base of metrics of labels, of which a sequence may have any number."""

from __future__ import annotations

from torch import Tensor

from anyformer.metrics._base import Metric
from anyformer.questions import Question, Target


class OfLabels(Metric):
    """A metric between 0 and 1 of labels that are told where their logit is above 0, their probability above 0.5."""

    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for labels."""
        return None if question.kind == "labels" else f"measures sets of labels, not {question.what}"


def hits(outputs: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Return which labels are told rightly, and how many of truth and answer name each: both ``(B, L)``."""
    there, told = target.values > 0, outputs > 0
    return there & told, there.long() + told.long()
