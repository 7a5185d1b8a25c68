"""Tags are classes of elements, with names."""

from __future__ import annotations

import torch

from anyformer.objectives import IGNORED, NextToken, Tags


def test_loss_and_question() -> None:
    objective = Tags(3, ("A", "B", "O"))
    outputs, targets = (
        torch.randn(2, 4, 3),
        torch.tensor([[IGNORED, 0, IGNORED, 2], [1, IGNORED, 1, IGNORED]]),
    )
    assert torch.equal(objective.loss(outputs, targets), NextToken(3).loss(outputs, targets))
    question = objective.question
    assert (question.kind, question.place, question.num_classes) == ("class", "each", 3)
    assert question.names == ("A", "B", "O") and objective.pool is None and objective.name == "tags"
