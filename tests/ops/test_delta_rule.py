from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from anyformer.ops import use_definition
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention

B, H, K, V = 2, 3, 5, 4


def make(T: int, decay: bool, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    parts = {
        "q": torch.randn(B, H, T, K, dtype=torch.float64),
        "k": normalize(torch.randn(B, H, T, K, dtype=torch.float64), dim=-1),
        "v": torch.randn(B, H, T, V, dtype=torch.float64),
        "beta": torch.rand(B, H, T, dtype=torch.float64),
        "initial": torch.randn(B, H, K, V, dtype=torch.float64),
    }
    if decay:
        parts["log_decay"] = logsigmoid(torch.randn(B, H, T, dtype=torch.float64))
    return {k: v.to(dtype) for k, v in parts.items()}


@pytest.mark.parametrize("T", [1, 2, 63, 65, 130, 64 * 37 + 1])
@pytest.mark.parametrize("decay", [False, True])
def test_fast_form_is_the_definition(agrees, T, decay):
    agrees(delta_rule, **make(T, decay))


@pytest.mark.parametrize("decay", [False, True])
def test_any_width_and_any_layout(agrees, decay):
    """Widths around the vectors', tensors as split heads leave them, a length with several kept states."""
    torch.manual_seed(0)
    T, K, V = 261, 33, 70
    parts = {
        name: torch.randn(B, T, H, width, dtype=torch.float64).transpose(1, 2)
        for name, width in (("q", K), ("k", K), ("v", V))
    }
    parts["k"] = normalize(parts["k"], dim=-1)
    parts["beta"] = torch.rand(B, T, H, dtype=torch.float64).mT
    if decay:
        parts["log_decay"] = -torch.rand(B, T, H, dtype=torch.float64).mT
    agrees(delta_rule, initial=torch.randn(B, H, K, V, dtype=torch.float64), **parts)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_beyond_the_heads_share_the_values(threads):
    torch.manual_seed(0)
    q, k = normalize(torch.randn(2, 1, 1, 90, 8, dtype=torch.float64), dim=-1)
    v, beta = torch.randn(1, 1, 90, 150, dtype=torch.float64), torch.rand(1, 1, 90, dtype=torch.float64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        result = delta_rule(q, k, v, beta)
    finally:
        torch.set_num_threads(before)
    with use_definition():
        expected = delta_rule(q, k, v, beta)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("T", [1, 40])
def test_the_same_with_and_without_a_gradient(decay, T):
    parts = make(T, decay)
    plain = delta_rule(**parts)
    watched = delta_rule(**{**parts, "q": parts["q"].clone().requires_grad_()})
    assert all(torch.equal(a, b) for a, b in zip(plain, watched))


def test_an_empty_batch():
    y, final = delta_rule(**{k: v[:0] for k, v in make(20, True).items()})
    assert y.shape == (0, H, 20, V) and final.shape == (0, H, K, V)


@pytest.mark.parametrize("decay", [False, True])
def test_float32_tolerance(agrees, decay):
    agrees(delta_rule, 2e-5, **make(130, decay, torch.float32))


@pytest.mark.parametrize("strength", [-30.0, -1e4])
def test_strong_decay_neither_overflows_nor_loses_accuracy(agrees, strength):
    parts = make(200, True, torch.float32)
    parts["log_decay"] = torch.full_like(parts["log_decay"], strength)
    parts["log_decay"][:, :, ::7] = -0.1
    agrees(delta_rule, 5e-5, **parts)


@pytest.mark.parametrize("decay", [False, True])
def test_pieces_chained_are_the_whole(decay):
    parts = make(140, decay)
    initial = parts.pop("initial")
    y, final = delta_rule(**parts, initial=initial)
    state, pieces = initial, []
    for start, stop in ((0, 1), (1, 1), (1, 3), (3, 70), (70, 140)):
        out, state = delta_rule(**{k: v[:, :, start:stop] for k, v in parts.items()}, initial=state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 2), y, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(state, final, rtol=1e-9, atol=1e-10)


def test_no_tokens():
    parts = make(0, True)
    y, final = delta_rule(**parts)
    assert y.shape == (B, H, 0, V) and torch.equal(final, parts["initial"])


def test_a_full_step_stores_the_value():
    parts = make(70, False)
    parts["beta"] = torch.ones_like(parts["beta"])
    y, _ = delta_rule(**{**parts, "q": parts["k"]})
    torch.testing.assert_close(y, parts["v"])


def test_orthogonal_keys_make_it_linear_attention():
    q, v = torch.randn(1, 1, 6, 6), torch.randn(1, 1, 6, 4)
    k = torch.eye(6)[None, None]
    torch.testing.assert_close(delta_rule(q, k, v, torch.ones(1, 1, 6))[0], linear_attention(q, k, v)[0])


@pytest.mark.parametrize("decay", [False, True])
def test_compiles_as_one_graph(decay):
    parts = make(70, decay)
    compiled = torch.compile(lambda parts: delta_rule(**parts), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(parts)[0], delta_rule(**parts)[0])


def test_errors():
    parts = make(4, True)
    with pytest.raises(ValueError, match="beta must have shape"):
        delta_rule(**{**parts, "beta": parts["beta"][..., None]})
    with pytest.raises(ValueError, match="initial must have shape"):
        delta_rule(**{**parts, "initial": parts["initial"].mT})
