from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from anyformer.ops import selective_scan as module
from anyformer.ops.selective_scan import selective_scan

B, D, K = 2, 3, 4


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


def test_backward_a_few_chunks_at_a_time(agrees, monkeypatch):
    monkeypatch.setattr(module, "RECOMPUTED", 1000)
    agrees(selective_scan, **make(130))


@pytest.mark.parametrize("T", [2, 17, 63, 65])
def test_few_tokens_as_one_chunk(agrees, monkeypatch, T):
    monkeypatch.setattr(module, "ENOUGH", 0)
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
