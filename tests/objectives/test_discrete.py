"""Losses over classes."""

from __future__ import annotations

import math

import pytest
import torch

from anyformer.objectives import IGNORED, Forecast, NextToken


def test_uniform_logits_cost_the_log_of_the_number_of_classes() -> None:
    assert float(
        NextToken(8).loss(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=torch.long))
    ) == pytest.approx(math.log(8))


def test_no_target_at_all_costs_nothing_and_is_not_nan() -> None:
    outputs = torch.zeros(1, 2, 3, requires_grad=True)
    loss = NextToken(3).loss(outputs, torch.full((1, 2), IGNORED))
    loss.backward()
    assert float(loss.detach()) == 0 and outputs.grad is not None and outputs.grad.isfinite().all()
    assert float(Forecast(1, 1).loss(torch.ones(1, 1), torch.full((1, 1, 1), math.nan))) == 0
