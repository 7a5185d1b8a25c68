from __future__ import annotations

import math

import pytest
import torch

from anyformer.objectives import (
    IGNORED,
    Classify,
    Forecast,
    Labels,
    NextToken,
    Objective,
    QuantileForecast,
    Regress,
)

EACH = [
    (NextToken(5), (3, 4, 5), torch.tensor([[1, 2, IGNORED, 0], [4, 4, 4, 4], [0, IGNORED, IGNORED, 3]])),
    (Classify(4), (3, 4), torch.tensor([0, 3, 1])),
    (Labels(3), (3, 3), torch.tensor([[1.0, 0, 1], [math.nan, 0, 0], [0, 1, 1]])),
    (Regress(2), (3, 2), torch.tensor([[0.5, -4.0], [math.nan, 1.0], [2.0, 0.0]])),
    (
        Forecast(2, 3),
        (3, 6),
        torch.arange(18.0).view(3, 2, 3).masked_fill(torch.eye(3)[:, None, :].bool(), math.nan),
    ),
    (
        QuantileForecast(2, 3, levels=(0.2, 0.9)),
        (3, 12),
        torch.arange(18.0).view(3, 2, 3).masked_fill(torch.eye(3)[:, None, :].bool(), math.nan),
    ),
]


@pytest.mark.parametrize("objective, shape, targets", EACH, ids=lambda v: getattr(v, "name", ""))
class TestEveryObjective:
    def test_the_head_has_the_width_that_the_loss_takes(
        self, objective: Objective, shape: tuple[int, ...], targets: torch.Tensor
    ) -> None:
        assert objective.num_outputs == shape[-1]
        assert (objective.pool is None) == (len(shape) == 3)

    def test_loss_is_the_mean_of_what_samples_add(
        self, objective: Objective, shape: tuple[int, ...], targets: torch.Tensor
    ) -> None:
        outputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        sums, counts = objective.loss_items(outputs, targets)
        assert sums.dtype == counts.dtype == torch.float64 and sums.shape == counts.shape == (3,)
        assert float(sums.sum() / counts.sum()) == pytest.approx(
            float(objective.loss(outputs, targets)), rel=1e-5
        )

    def test_samples_add_what_they_add_alone(
        self, objective: Objective, shape: tuple[int, ...], targets: torch.Tensor
    ) -> None:
        outputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        whole = objective.loss_items(outputs, targets)
        parts = [objective.loss_items(outputs[i : i + 1], targets[i : i + 1]) for i in range(3)]
        for found, together in zip(zip(*parts), whole):
            torch.testing.assert_close(torch.cat(found), together, rtol=1e-5, atol=0)

    def test_gradient_is_finite_and_zero_where_no_target_counts(
        self, objective: Objective, shape: tuple[int, ...], targets: torch.Tensor
    ) -> None:
        outputs = torch.zeros(shape, requires_grad=True)
        objective.loss(outputs, targets).backward()
        assert outputs.grad is not None and outputs.grad.isfinite().all() and outputs.grad.abs().sum() > 0
        ignored = targets == IGNORED if targets.dtype == torch.int64 else targets.isnan().view(3, -1)
        if ignored.any():
            if isinstance(objective, QuantileForecast):
                ignored = ignored.repeat_interleave(len(objective.levels), 1)
            assert not outputs.grad[ignored].any()

    def test_bfloat16_outputs_give_a_float32_loss(
        self, objective: Objective, shape: tuple[int, ...], targets: torch.Tensor
    ) -> None:
        assert objective.loss(torch.zeros(shape, dtype=torch.bfloat16), targets).dtype == torch.float32

    def test_wrong_width_names_what_was_expected(
        self, objective: Objective, shape: tuple[int, ...], targets: torch.Tensor
    ) -> None:
        with pytest.raises(ValueError, match=r"outputs must have shape .*, got"):
            objective.loss(torch.zeros(*shape[:-1], shape[-1] + 1), targets)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: NextToken(0), "vocab_size must be a positive integer, got 0"),
        (lambda: Classify(3, pool="max"), "pool must be 'mean' or 'last'"),  # type: ignore[arg-type]
        (lambda: Regress(True), "num_values must be a positive integer, got True"),
        (lambda: Forecast(3, -1), "num_variates must be a positive integer, got -1"),
        (
            lambda: QuantileForecast(3, 1, levels=(0.5, 0.1)),
            r"quantiles must be numbers .*, got \[0.5, 0.1\]",
        ),
        (lambda: QuantileForecast(3, 1, levels=(0.1, 1.0)), r"quantiles must be numbers between 0 and 1"),
        (lambda: QuantileForecast(3, 1, levels=()), r"quantiles must be numbers between 0 and 1"),
    ],
)
def test_wrong_options(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
