"""Losses over numbers."""

from __future__ import annotations

import torch

from anyformer.objectives import Forecast


def test_forecast_keeps_the_variates_of_one_step_adjacent() -> None:
    outputs = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    targets = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert float(Forecast(2, 2).loss(outputs, targets)) == 0
    assert float(Forecast(2, 2).loss(outputs, targets.transpose(1, 2))) > 0
