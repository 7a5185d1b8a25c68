"""The base of metrics of numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics._base import Ratio
from anyformer.precision import widen
from anyformer.questions import Question, Target, quantiles_of

MEDIAN = 0.5


class MeanError(Ratio):
    """A mean of costs over all known numbers; a subclass gives the cost of an error."""

    higher_is_better = False
    limits = (0.0, torch.inf)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse all questions but those for numbers."""
        return refuses_all_but_numbers(question)


def refuses_all_but_numbers(question: Question) -> str | None:
    """Return why a question is not one for numbers; None if it is. Of quantiles, the median is the number."""
    if question.kind == "quantiles":
        return None if MEDIAN in question.levels else "measures the median, which is none of the quantiles"
    return None if question.kind == "number" else f"measures numbers, not {question.what}"


def errors(outputs: Tensor, target: Target, question: Question) -> Tensor:
    """Return outputs, or medians, less targets in the user's units, float64, in the targets' shape; NaN where unknown.

    They are subtracted in the precision of the outputs.
    """
    outputs = outputs.detach()
    if question.kind == "quantiles":
        place = question.levels.index(MEDIAN)
        outputs = quantiles_of(outputs, target.values.shape, question.levels)[..., place]
    found = (outputs.view_as(target.values) - target.values).double()
    return found if target.scale is None else found * target.scale


def summed(costs: Tensor, target: Target) -> Tensor:
    """Return each sample's sum of costs over known numbers, and their number, ``(B, 2)`` float64."""
    known = ~target.values.isnan()
    sums = costs.where(known, 0.0).flatten(1).sum(1)
    return torch.stack([sums, known.flatten(1).sum(1).double()], 1)


def squared_errors(outputs: Tensor, target: Target, question: Question) -> Tensor:
    """Return each sample's sum of squared errors, and their number, ``(B, 2)`` float64."""
    return summed(errors(widen(outputs), target, question).square(), target)
