"""The share of numbers within the interval that was forecast."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics import register_metric
from anyformer.metrics._base import MetricInfo, Ratio
from anyformer.metrics._numbers import summed
from anyformer.metrics._quantiles import refuses_all_but_quantiles
from anyformer.questions import Question, Target, quantiles_of


@register_metric("coverage")
class Coverage(Ratio):
    """The share of known numbers between the lowest quantile and the highest; best is the distance of their levels.

    It ranks nothing: an interval that is too wide covers more.
    """

    name = "coverage"
    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3
    ranks = False

    def __init__(self, question: Question, *, best: float | None = None) -> None:
        levels = question.levels or (0.0, 1.0)
        super().__init__(question, best=round(levels[-1] - levels[0], 12) if best is None else best)

    @classmethod
    def describe(cls) -> MetricInfo:
        """Return the facts that hold for every question: the best value depends on it."""
        return super().describe().model_copy(update={"best": None})

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for at least two quantiles."""
        if reason := refuses_all_but_quantiles(question):
            return reason
        return None if len(question.levels) > 1 else "measures the interval between two quantiles or more"

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the numbers of covered and of known numbers, ``(B, 2)``."""
        values = target.values.double()
        found = quantiles_of(outputs.detach().double(), values.shape, self.question.levels)
        covered = torch.logical_and(found[..., 0] <= values, values <= found[..., -1])
        return summed(covered.double(), target)
