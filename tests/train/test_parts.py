from __future__ import annotations

import dataclasses

import pytest
import torch

from anyformer import Call
from anyformer.models import create_model
from anyformer.objectives import NextItem, NextToken
from anyformer.questions import IGNORED
from anyformer.tasks import Batch
from anyformer.train.parts import loss_by_parts


@pytest.mark.parametrize("most", [10**6, 50, 1])
def test_it_is_the_loss_of_all_outputs_with_its_gradients(most: int) -> None:
    torch.manual_seed(0)
    model = create_model("mamba dim=8 depth=1", vocab_size=9).double()
    targets = torch.randint(9, (4, 11))
    targets[torch.rand(4, 11) < 0.5] = IGNORED
    batch = Batch(torch.randint(9, (4, 11)), targets, torch.rand(4, 11) < 0.9)
    found = loss_by_parts(model, batch, NextItem(9), Call(), most)
    gradients = torch.autograd.grad(found, list(model.parameters()))
    expected = NextToken(9).loss(model(batch.x, batch.mask), targets)
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
    for one, other in zip(gradients, torch.autograd.grad(expected, list(model.parameters()))):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_nothing_asked_has_no_loss_and_no_gradient() -> None:
    model = create_model("mamba dim=8 depth=1", vocab_size=9)
    batch = Batch(torch.randint(9, (2, 5)), torch.full((2, 5), IGNORED))
    loss = loss_by_parts(model, dataclasses.replace(batch), NextItem(9), Call())
    loss.backward()
    assert float(loss) == 0 and float(model.head.weight.grad.abs().sum()) == 0
