from __future__ import annotations

import pytest
import torch

from anyformer.ops.scan import scan


def make(T: int, dtype: torch.dtype = torch.float64, shared: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    a = torch.rand(2, 3, T, 1 if shared else 5, dtype=torch.float64).to(dtype)
    if dtype.is_complex:
        a = a * torch.exp(1j * torch.randn(a.shape))
    return {
        "a": a.to(dtype),
        "b": torch.randn(2, 3, T, 5, dtype=dtype),
        "initial": torch.randn(2, 3, 5, dtype=dtype),
    }


@pytest.mark.parametrize("T", [1, 2, 31, 33, 63, 65, 130, 600])
@pytest.mark.parametrize("reverse", [False, True])
def test_fast_form_is_the_definition(agrees, T, reverse):
    agrees(scan, reverse=reverse, **make(T))


@pytest.mark.parametrize("T", [2, 65])
def test_complex_shared_and_absent_arguments(agrees, T):
    agrees(scan, **make(T, torch.complex128))
    agrees(scan, **make(T, shared=True))
    agrees(scan, **make(T, torch.complex128, shared=True))
    agrees(scan, **{**make(T), "initial": None})
    agrees(scan, a=torch.rand(5, dtype=torch.float64), b=make(T)["b"])


def test_float32_tolerance(agrees):
    agrees(scan, 2e-6, **make(600, torch.float32))


def test_half_precision_accumulates_in_float32():
    parts = make(300, torch.float32)
    narrow = {k: v.bfloat16() for k, v in parts.items()}
    h, final = scan(**narrow)
    exact, exact_final = scan(**{k: v.double() for k, v in narrow.items()})
    assert h.dtype == torch.bfloat16 and final.dtype == torch.float32
    torch.testing.assert_close(final.double(), exact_final, rtol=1e-5, atol=1e-6)


def test_pieces_chained_are_the_whole():
    parts = make(100)
    h, final = scan(**parts)
    state, pieces = parts["initial"], []
    for piece_a, piece_b in zip(parts["a"].split([1, 0, 40, 59], 2), parts["b"].split([1, 0, 40, 59], 2)):
        y, state = scan(piece_a, piece_b, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 2), h, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=1e-9, atol=1e-12)


def test_zero_factors_reset_and_nothing_is_nan():
    parts = make(130)
    parts["a"][:, :, 70] = 0
    h, _ = scan(**parts)
    fresh, _ = scan(parts["a"][:, :, 71:], parts["b"][:, :, 71:], parts["b"][:, :, 70])
    torch.testing.assert_close(h[:, :, 71:], fresh, rtol=1e-9, atol=1e-12)


def test_compiles_as_one_graph():
    parts = make(50)
    whole = torch.compile(lambda a, b, initial: scan(a, b, initial), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(**parts)[0], scan(**parts)[0])


def test_gradcheck():
    parts = make(35, torch.complex128)
    small = [v[:1, :1, ..., :2].contiguous().requires_grad_() for v in parts.values()]
    assert torch.autograd.gradcheck(scan, small, fast_mode=True)


def test_errors():
    parts = make(4)
    with pytest.raises(ValueError, match="a must broadcast"):
        scan(parts["a"][:, :, :3], parts["b"])
    with pytest.raises(ValueError, match="initial must have shape"):
        scan(parts["a"], parts["b"], parts["b"])
