from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import silu

from anyformer.ops.swiglu import swiglu


@pytest.mark.parametrize("shape", [(1,), (2, 3, 5), (131, 67)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_formula(
    agrees: Callable[..., None], shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    gate, up = torch.randn(2, *shape, dtype=dtype) * 3
    agrees(swiglu, tolerance, gate=gate, up=up)


def test_extremes_and_strides() -> None:
    gate = torch.tensor([[-1e4, -200.0, -90.0, 0.0], [90.0, 200.0, 1e4, 3e38]])
    up = torch.full((4, 2), 0.5).t()
    torch.testing.assert_close(swiglu(gate, up), silu(gate) * up)
    leaf = gate.clone().requires_grad_()
    swiglu(leaf, up).sum().backward()
    assert leaf.grad is not None and bool(leaf.grad.isfinite().all())
    assert swiglu(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 3)
    assert bool(swiglu(torch.tensor([torch.nan]), torch.ones(1)).isnan())


def test_second_gradients() -> None:
    torch.manual_seed(0)
    given = [torch.randn(3, 4, dtype=torch.float64).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradgradcheck(swiglu, given)
