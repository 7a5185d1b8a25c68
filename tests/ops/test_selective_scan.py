from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from anyformer.ops import use_native
from anyformer.ops.selective_scan import selective_scan

B, D, K = 2, 3, 4
D_AXIS = {"x": 1, "dt": 1, "initial": 1}


def make(T: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    parts = {
        "x": torch.randn(B, D, T, dtype=torch.float64),
        "dt": softplus(torch.randn(B, D, T, dtype=torch.float64)),
        "A": -torch.rand(D, K, dtype=torch.float64) * 2,
        "B_": torch.randn(B, K, T, dtype=torch.float64),
        "C_": torch.randn(B, K, T, dtype=torch.float64),
        "skip": torch.randn(D, dtype=torch.float64),
        "initial": torch.randn(B, D, K, dtype=torch.float64),
    }
    return {k: v.to(dtype) for k, v in parts.items()}


@pytest.mark.parametrize("T", [1, 2, 16, 17, 63, 65, 130, 700])
def test_fast_form_is_the_definition(agrees, T):
    agrees(selective_scan, **make(T))


@pytest.mark.parametrize("T", [1, 17, 65, 130])
def test_gate_and_softplus_of_the_steps(agrees, T):
    parts = make(T)
    parts["dt"] = torch.randn(B, D, T, dtype=torch.float64) * 3
    gate = torch.randn(B, D, T, dtype=torch.float64) * 3
    agrees(selective_scan, dt_softplus=True, gate=gate, **parts)
    agrees(selective_scan, dt_softplus=True, **parts)
    del parts["skip"]
    agrees(selective_scan, gate=gate, **{**parts, "dt": softplus(parts["dt"])})


@pytest.mark.parametrize("native", [True, False])
def test_a_step_of_minus_infinity_changes_nothing(native):
    parts = make(9)
    parts["x"][:, :, 4:] = 0
    parts["dt"][:, :, 4:] = -torch.inf
    parts["dt"].requires_grad_()
    with use_native(native):
        _, final = selective_scan(dt_softplus=True, **parts)
        shorter = {k: v[..., :4] if k in ("x", "dt", "B_", "C_") else v for k, v in parts.items()}
        torch.testing.assert_close(final, selective_scan(dt_softplus=True, **shorter)[1], rtol=1e-12, atol=0)
        grad = torch.autograd.grad(final.sum(), parts["dt"])[0]
        assert torch.isfinite(grad).all() and not grad[:, :, 4:].any()


@pytest.mark.parametrize("width", [63, 64, 65, 300])
def test_more_channels_than_a_vector(agrees, width):
    parts = make(70)
    parts = {
        k: v.repeat_interleave(100, D_AXIS[k])[:, :width] if D_AXIS.get(k) else v for k, v in parts.items()
    }
    parts["A"], parts["skip"] = parts["A"].repeat(100, 1)[:width], parts["skip"].repeat(100)[:width]
    agrees(selective_scan, gate=parts["x"] * 2, **parts)


def test_rows_inside_wider_rows(agrees):
    parts, rest = make(70), torch.randn(B, 70, 3 * K, dtype=torch.float64)
    del parts["B_"], parts["C_"]

    def sliced(rest: Tensor, **parts: Tensor) -> tuple[Tensor, Tensor]:
        return selective_scan(B_=rest[:, :, :K].mT, C_=rest[:, :, 1 : 1 + K].mT, **parts)

    agrees(sliced, rest=rest, **parts)
    skip = torch.randn(D, 2, dtype=torch.float64)
    agrees(lambda skip, **others: selective_scan(skip=skip[:, 0], **others), **{**make(9), "skip": skip})


def test_a_growing_exponent_overflows_to_infinity():
    parts = make(3, torch.float32)
    parts["A"], parts["dt"] = parts["A"].abs() + 1, torch.full_like(parts["dt"], 100.0)
    assert torch.isinf(selective_scan(**parts)[1]).any()


def test_backward_a_few_chunks_at_a_time(agrees, monkeypatch):
    monkeypatch.setattr("anyformer.ops.selective_scan.chunks.RECOMPUTED", 1000)
    agrees(selective_scan, **make(130))


@pytest.mark.parametrize("T", [2, 17, 63, 65])
def test_few_tokens_as_one_chunk(agrees, monkeypatch, T):
    monkeypatch.setattr("anyformer.ops.selective_scan.definition.ENOUGH", 0)
    agrees(selective_scan, **make(T))


def test_without_skip_and_state(agrees):
    parts = make(65)
    del parts["skip"], parts["initial"]
    agrees(selective_scan, **parts)


def test_float32_tolerance(agrees):
    agrees(selective_scan, 2e-5, **make(700, torch.float32))


@pytest.mark.parametrize("strength", [30.0, 1e4])
def test_strong_decay_neither_overflows_nor_loses_accuracy(agrees, strength):
    parts = make(200, torch.float32)
    parts["A"] = torch.full_like(parts["A"], -1.0)
    parts["dt"] = torch.where(torch.rand_like(parts["dt"]) < 0.5, strength, parts["dt"])
    agrees(selective_scan, 5e-5, **parts)


def test_pieces_chained_are_the_whole():
    parts = make(140)
    y, final = selective_scan(**parts)
    state, pieces = parts["initial"], []
    for start, stop in ((0, 1), (1, 1), (1, 3), (3, 70), (70, 140)):
        part = {k: v[..., start:stop] if k in ("x", "dt", "B_", "C_") else v for k, v in parts.items()}
        out, state = selective_scan(**{**part, "initial": state})
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 2), y, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(state, final, rtol=1e-9, atol=1e-10)


def test_no_tokens():
    parts = make(0)
    y, final = selective_scan(**parts)
    assert y.shape == (B, D, 0) and torch.equal(final, parts["initial"])


def test_no_tensor_of_all_states():
    """The largest tensor kept for the backward is far below one state a token."""
    parts = make(1024)
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        selective_scan(**{k: v.requires_grad_() for k, v in parts.items()})
    assert 0 < max(sizes) <= 2 * B * D * 1024


def test_compiles_as_one_graph():
    parts = {k: v.requires_grad_() for k, v in make(70).items()}
    compiled = torch.compile(lambda parts: selective_scan(**parts), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(parts)[0], selective_scan(**parts)[0])


def test_errors():
    parts = make(5)
    with pytest.raises(ValueError, match="B_ must have shape"):
        selective_scan(**{**parts, "B_": parts["B_"].mT})
    with pytest.raises(ValueError, match="x and dt must share"):
        selective_scan(**{**parts, "dt": parts["dt"][:, :1]})


def test_the_backward_goes_the_way_that_the_forward_went() -> None:
    """What chunks start from is kept in an order of the path's own."""
    found = []
    for path in ((True, False), (False, True), (False, False)):
        given = {k: v.requires_grad_() for k, v in make(130).items()}
        with use_native(path[0]):
            y, last = selective_scan(**given)
        with use_native(path[1]):
            (y.sin().sum() + last.cos().sum()).backward()
        found.append([v.grad for v in given.values()])
    for grads in found[:2]:
        torch.testing.assert_close(grads, found[2])


def test_steps_that_forget_everything() -> None:
    """Exponents too large for the kernels' short form, beside small ones."""
    found = []
    for native in (True, False):
        given = make(70, torch.float32)
        given["dt"][:, :, 40:44] *= 1e4
        given = {k: v.requires_grad_() for k, v in given.items()}
        with use_native(native):
            y, last = selective_scan(**given)
            (y.tanh().sum() + last.cos().sum()).backward()
        found.append([y, last, *(v.grad for v in given.values())])
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
