from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from anyformer.ops import use_native
from anyformer.ops.rotate import rotate, rotate_definition


@pytest.mark.parametrize(("B", "H", "T", "K"), [(1, 1, 1, 2), (2, 3, 7, 10), (3, 2, 67, 64)])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_formula(
    agrees: Callable[..., None],
    B: int,
    H: int,
    T: int,
    K: int,
    shared: bool,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    torch.manual_seed(0)
    angle = torch.randn(1 if shared else B, T, K // 2, dtype=dtype)
    x = torch.randn(B, H, T, K, dtype=dtype)
    agrees(lambda x: rotate(x, angle.cos(), angle.sin()), tolerance, x=x)
    agrees(rotate, tolerance, x=x, cos=angle.cos(), sin=angle.sin())


def test_strides() -> None:
    torch.manual_seed(0)
    cos, sin = torch.randn(2, 2, 5, 3)
    flat = torch.randn(2, 5, 4 * 6)
    for x in (
        flat.view(2, 5, 4, 6).transpose(1, 2),
        flat[:, :, :12].unflatten(2, (2, 6)).transpose(1, 2),
        torch.randn(2, 4, 5, 12)[..., ::2],
        torch.randn(1, 4, 5, 6).expand(2, -1, -1, -1),
    ):
        for native in (True, False):
            leaf = x.clone().requires_grad_()
            with use_native(native):
                torch.testing.assert_close(rotate(x, cos, sin), rotate_definition(x, cos, sin))
                rotate(leaf.transpose(1, 1), cos, sin).square().sum().backward()
            torch.testing.assert_close(
                leaf.grad,
                2 * leaf.detach() * torch.cat([cos, cos], -1)[:, None] ** 2
                + 2 * leaf.detach() * torch.cat([sin, sin], -1)[:, None] ** 2,
            )


def test_second_gradients() -> None:
    x, (cos, sin) = (
        torch.randn(1, 2, 3, 4, dtype=torch.float64).requires_grad_(),
        torch.randn(2, 1, 3, 2).double(),
    )
    assert torch.autograd.gradcheck(lambda x: rotate(x, cos, sin).pow(3), (x,))
    assert torch.autograd.gradgradcheck(lambda x: rotate(x, cos, sin).pow(3), (x,))
