"""The linear head is a linear layer, with the objective's loss."""

from __future__ import annotations

import torch

from anyformer.heads import create_head, list_heads
from anyformer.heads.linear import LinearHead
from anyformer.layers.linear import Linear
from anyformer.models import create_model
from anyformer.objectives import NextToken


def test_has_the_keys_draws_and_numbers_of_a_linear_layer() -> None:
    torch.manual_seed(3)
    plain = Linear(6, 5)
    torch.manual_seed(3)
    head = create_head("linear", 6, 5)
    assert isinstance(head, LinearHead) and list(head.state_dict()) == ["weight", "bias"]
    h = torch.randn(2, 4, 6)
    assert torch.equal(head(h), plain(h)) and head.answer(h) is h


def test_loss_is_the_objectives() -> None:
    head, objective = create_head("linear", 6, 5, options={"bias": False}), NextToken(5)
    outputs, targets = torch.randn(2, 4, 5), torch.randint(5, (2, 4))
    assert torch.equal(head.loss(outputs, targets, objective), objective.loss(outputs, targets))
    for one, other in zip(
        head.loss_items(outputs, targets, objective), objective.loss_items(outputs, targets)
    ):
        assert torch.equal(one, other)


def test_is_the_default() -> None:
    assert {"crf", "linear"} <= set(list_heads())
    model = create_model("mamba", dim=8, vocab_size=5)
    assert isinstance(model.head, LinearHead) and "head" not in str(model.spec)
    assert "head=crf" in str(create_model("mamba", head="crf", dim=8, vocab_size=5).spec)
