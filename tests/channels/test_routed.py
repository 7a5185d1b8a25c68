from __future__ import annotations

import pytest
import torch

from anyformer.channels import channels
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
