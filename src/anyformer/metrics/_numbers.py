"""What metrics of numbers share."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.metrics._base import Ratio
from anyformer.precision import widen
from anyformer.questions import Question, Target


class MeanError(Ratio):
    """A mean over all numbers that are known. A subclass says what an error of one costs."""

    higher_is_better = False
    limits = (0.0, torch.inf)

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """All but numbers."""
        return refuses_all_but_numbers(question)


def refuses_all_but_numbers(question: Question) -> str | None:
    """Why a question is none for numbers."""
    return None if question.kind == "number" else "measures numbers, not classes"


def errors(outputs: Tensor, target: Target) -> Tensor:
    """Outputs less targets in the user's units, float64, in the targets' shape; NaN where these are not known.

    They are subtracted in the precision of the outputs.
    """
    found = (outputs.detach().view_as(target.values) - target.values).double()
    return found if target.scale is None else found * target.scale


def summed(costs: Tensor, target: Target) -> Tensor:
    """What the known numbers of each sample cost, and how many these are, ``(B, 2)`` float64."""
    known = ~target.values.isnan()
    sums = costs.where(known, 0.0).flatten(1).sum(1)
    return torch.stack([sums, known.flatten(1).sum(1).double()], 1)


def squared_errors(outputs: Tensor, target: Target) -> Tensor:
    """The sum of squared errors of each sample, and how many they are, ``(B, 2)`` float64."""
    return summed(errors(widen(outputs), target).square(), target)
