"""The linear op against its formula on each path: few rows, oneDNN, PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear as reference

from anyformer.layers.linear import Linear
from anyformer.ops import linear as module
from anyformer.ops import use_native
from anyformer.ops.linear import FEW_ROWS, linear

torch.manual_seed(0)


needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch has no oneDNN"
)


@pytest.fixture(
    params=["PyTorch", "PyTorch for few rows", pytest.param("oneDNN", marks=needs_onednn)], autouse=True
)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every choice of libraries, whichever this CPU would get."""
    monkeypatch.setattr(module, "_HAS_ONEDNN", request.param == "oneDNN")
    monkeypatch.setattr(module, "_MKL_AT_HOME", request.param == "PyTorch for few rows")


def tensors(rows: tuple[int, ...], K: int, N: int, dtype: torch.dtype) -> dict[str, Tensor]:
    shapes = {"x": (*rows, K), "weight": (N, K), "bias": (N,)}
    return {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("rows", [(), (1,), (3, 1), (2, 67)])
@pytest.mark.parametrize(("K", "N"), [(1, 1), (7, 5), (64, 33), (131, 130)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_formula(
    agrees: Callable[..., None],
    rows: tuple[int, ...],
    K: int,
    N: int,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    given = tensors(rows, K, N, dtype)
    agrees(linear, tolerance, **given)
    del given["bias"]
    agrees(linear, tolerance, **given)


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_without_gradient(rows: int, dtype: torch.dtype) -> None:
    for K, N in ((1, 3), (16, 4), (37, 30), (300, 301)):
        x, weight, bias = tensors((rows,), K, N, dtype).values()
        strided = torch.randn(rows, 2 * K, dtype=dtype)[:, ::2]
        for native in (True, False):
            with use_native(native), torch.no_grad():
                for given in ((x, weight, bias), (x, weight, None), (strided, weight, bias)):
                    torch.testing.assert_close(linear(*given), reference(*given), atol=1e-4, rtol=1e-4)


def test_second_gradients_and_empty_input() -> None:
    given = [t.requires_grad_() for t in tensors((8,), 6, 5, torch.float32).values()]

    def second(op: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        grads = torch.autograd.grad(op(*given).pow(3).sum(), given, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), given)

    for mine, theirs in zip(second(linear), second(reference), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-2)
    assert linear(torch.randn(2, 0, 6), given[1]).shape == (2, 0, 5)


def test_autocast_and_compile() -> None:
    layer, x = Linear(6, 5), torch.randn(9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), layer(x))


def test_a_wrong_width_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Linear(6, 5)(torch.randn(9, 7))


def test_torch_func_sees_through() -> None:
    """vmap, grad and jacrev of torch.func take the small native functions apart into PyTorch's own operations."""
    from anyformer.ops.rms_norm import rms_norm
    from anyformer.ops.swiglu import swiglu

    weight, x = torch.randn(6, 4), torch.randn(5, 4)

    def f(row: Tensor) -> Tensor:
        return swiglu(linear(rms_norm(row, None), weight), linear(row, weight)).sum()

    expected = torch.stack([torch.autograd.grad(f(row), row)[0] for row in x.clone().requires_grad_()])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(f))(x), expected)
