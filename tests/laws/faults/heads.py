"""Faults of heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.heads.linear import LinearHead
from anyformer.laws.faults import breaks_head


@breaks_head("outputs", r"outputs of hidden states \(3, 16\) have shape \(3, 6\), asked are 5")
class OneClassMore(LinearHead):
    """Has an output that nobody asked for."""

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs + 1, **options)


@breaks_head("elements", "elements 0 to 1 against the whole")
class LooksAround(LinearHead):
    """Takes the mean over time away."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h - h.mean(1, keepdim=True))


@breaks_head("independence", "the loss of a sample alone against it in a batch")
class LossOfTheBatch(LinearHead):
    """Gives every sample the loss of the batch."""

    def loss_items(self, outputs: Tensor, targets: Tensor, objective: Any) -> tuple[Tensor, Tensor]:
        sums, counts = super().loss_items(outputs, targets, objective)
        return sums.mean().expand_as(sums), counts


@breaks_head("independence", "the answers of a sample alone against it in a batch")
class AnswersOfTheBatch(LinearHead):
    """Centres answers over the batch."""

    def answer(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        return outputs - outputs.mean(0, keepdim=True)


@breaks_head("ignored", "the loss after a change where nothing is asked")
class CountsPadding(LinearHead):
    """Pulls all outputs to zero, those of padding too."""

    def loss(self, outputs: Tensor, targets: Tensor, objective: Any) -> Tensor:
        return objective.loss(outputs, targets) + outputs.square().mean()


@breaks_head("answers", "answers have shape")
class AnswersClasses(LinearHead):
    """Answers with the class in place of its scores."""

    def answer(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        return outputs.argmax(-1).double()


@breaks_head("mean", "the loss against the sums over their numbers")
class SumsUp(LinearHead):
    """Trains with the sum over samples, and evaluates with the mean."""

    def loss(self, outputs: Tensor, targets: Tensor, objective: Any) -> Tensor:
        return len(outputs) * objective.loss(outputs, targets)


@breaks_head("mean", "the loss where nothing is asked: not finite", "a class")
class DividesByNothing(LinearHead):
    """Divides by the number of targets though there may be none."""

    def loss(self, outputs: Tensor, targets: Tensor, objective: Any) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets)


@breaks_head("gradient", "parameter scale gets no gradient")
class Detached(LinearHead):
    """Scales outputs by a parameter that is not trained."""

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs, **options)
        self.scale = nn.Parameter(torch.ones(num_outputs))

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h) * self.scale.detach()


@breaks_head("precision", "the loss is torch.bfloat16")
class NarrowLoss(LinearHead):
    """Takes the loss in bfloat16."""

    def loss(self, outputs: Tensor, targets: Tensor, objective: Any) -> Tensor:
        return super().loss(outputs, targets, objective).bfloat16()


@breaks_head("fit", "answers are wrong on the batch that was trained on")
class AnswersTheWorst(LinearHead):
    """Answers with the least likely class."""

    def answer(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        return -outputs


@breaks_head("fit", "answers are away from the numbers", "numbers")
class AnswersTwice(LinearHead):
    """Answers with twice the number that was trained."""

    def answer(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        return 2 * outputs


@breaks_head("persistence", "outputs of loaded weights")
class ForgetsItsShift(LinearHead):
    """Draws a shift that is not saved."""

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs, **options)
        self.register_buffer("shift", torch.randn(num_outputs), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h) + self.shift


@breaks_head("errors", "an unknown option: no error")
class TakesAnything(LinearHead):
    """Ignores options that it does not have."""

    def __init__(self, dim: int, num_outputs: int, **options: Any) -> None:
        super().__init__(dim, num_outputs)
