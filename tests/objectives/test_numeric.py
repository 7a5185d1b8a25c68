"""Losses over numbers."""

from __future__ import annotations

import torch

from anyformer.objectives import Forecast, QuantileForecast


def test_forecast_keeps_the_variates_of_one_step_adjacent() -> None:
    outputs = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    targets = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert float(Forecast(2, 2).loss(outputs, targets)) == 0
    assert float(Forecast(2, 2).loss(outputs, targets.transpose(1, 2))) > 0


def test_the_pinball_loss_is_least_at_the_quantile() -> None:
    """Of 1, 2, ..., 100 a share p lies below 100 p."""
    objective = QuantileForecast(1, 1, levels=(0.1, 0.5, 0.9))
    targets = torch.arange(1.0, 101).view(-1, 1, 1)
    outputs = torch.full((3,), 40.0, requires_grad=True)
    optimizer = torch.optim.SGD([outputs], lr=30.0)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 30.0 / (1 + step / 20)
        optimizer.zero_grad()
        objective.loss(outputs.expand(100, 3), targets).backward()
        optimizer.step()
    torch.testing.assert_close(outputs.detach(), torch.tensor([10.5, 50.5, 90.5]), atol=1.0, rtol=0)


def test_quantiles_of_one_value_are_adjacent() -> None:
    objective = QuantileForecast(2, 2, levels=(0.25, 0.75))
    targets = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert float(objective.loss(torch.tensor([[1.0, 1, 2, 2, 3, 3, 4, 4]]), targets)) == 0
    one_off = torch.tensor([[1.0, 1, 2, 2, 3, 3, 4, 8]])
    assert (
        float(objective.loss(one_off, targets)) == 0.25 * 4 / 2 / 4
    )  # above the value; 2 quantiles, 4 values
