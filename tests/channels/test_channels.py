"""Every channel mixer in float64; what some refuse."""

from __future__ import annotations

import pytest
import torch

from anyformer.channels import channels, create_channel
from anyformer.laws import cases_of


@pytest.mark.parametrize("name", channels.ids())
def test_float64_is_float64_throughout(name: str) -> None:
    """The gradient along a direction is the difference quotient, to more digits than float32 has."""
    for case in cases_of(name):
        mixer = case.mixer()
        sample = case.sample(mixer, 2, 5)
        along = torch.randn(sample.x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        x = sample.x.clone().requires_grad_()
        y = sample.with_x(x).forward(mixer)
        assert y.dtype == torch.float64
        (slope,) = torch.autograd.grad(y.sum(), x)
        with torch.no_grad():
            ends = [sample.with_x(sample.x + h * along).forward(mixer).sum() for h in (1e-6, -1e-6)]
        quotient, expected = float(ends[0] - ends[1]) / 2e-6, float((slope * along).sum())
        assert abs(quotient - expected) < 1e-6 * max(1.0, abs(expected)), case.label


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("emoe", {"num_experts": 7}, "num_experts must divide the 64 hidden units, got 7"),
        ("emoe", {"top_k": 9}, "top_k must be between 1 and num_experts=8, got 9"),
        ("mohd", {"num_groups": 5}, "num_groups must divide dim=16, got 5"),
        (
            "mohd",
            {"num_groups": 4, "num_shared": 2, "top_k": 3},
            "together at most num_groups=4, got 2 and 3",
        ),
    ],
)
def test_errors(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_channel(name, 16, **options)
