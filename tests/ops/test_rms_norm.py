from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import rms_norm as reference

from anyformer.ops import use_native
from anyformer.ops.rms_norm import rms_norm


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 1), (2, 7, 33), (67, 130)])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_formula(
    agrees: Callable[..., None], shape: tuple[int, ...], weighted: bool, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    weight = {"weight": torch.randn(shape[-1:], dtype=dtype)} if weighted else {}
    agrees(rms_norm, tolerance, x=torch.randn(shape, dtype=dtype), eps=0.1, **weight)


def test_equals_pytorch_also_where_it_is_strided_empty_or_narrow() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6)
    for x in (torch.randn(4, 3, 6).transpose(0, 1), torch.randn(4, 12)[:, ::2], torch.zeros(2, 6)):
        torch.testing.assert_close(rms_norm(x, weight, 1e-5), reference(x, (6,), weight, 1e-5))
    assert rms_norm(torch.zeros(0, 6), weight).shape == (0, 6)
    assert rms_norm(torch.randn(2, 6).bfloat16(), weight.bfloat16()).dtype == torch.bfloat16


def test_second_gradients() -> None:
    torch.manual_seed(0)
    x, weight = (
        torch.randn(3, 4, dtype=torch.float64).requires_grad_(),
        torch.randn(4).double().requires_grad_(),
    )
    assert torch.autograd.gradgradcheck(lambda x, w: rms_norm(x, w, 0.1), (x, weight))


def test_the_number_of_threads_changes_nothing() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(500, 64), torch.randn(64)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            given = [t.clone().requires_grad_() for t in (x, weight)]
            rms_norm(*given).square().sum().backward()
            found.append([t.grad for t in given])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_without_kernels() -> None:
    x = torch.randn(3, 4)
    with use_native(False):
        torch.testing.assert_close(rms_norm(x), reference(x, (4,), None, 1e-5))
