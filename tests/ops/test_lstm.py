from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from anyformer.ops import use_definition
from anyformer.ops.lstm import LstmState, lstm

B, D, F = 3, 5, 4


def make(T: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    shapes = {"x": (B, T, D), "weight": (4 * F, D), "recurrent": (4 * F, F), "bias": (4 * F,)}
    return {name: torch.randn(shape, dtype=torch.float64).to(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("T", [1, 2, 17])
def test_fast_form_is_the_definition(agrees, T):
    agrees(lstm, **make(T))


def test_float32_tolerance(agrees):
    agrees(lstm, 2e-5, **make(30, torch.float32))


def test_ragged_from_a_state(agrees):
    """Samples of nine, no and four tokens; the second keeps its state."""
    torch.manual_seed(1)
    initial, lengths = LstmState(*torch.randn(2, B, F, dtype=torch.float64)), torch.tensor([9, 0, 4])
    agrees(lambda **parts: lstm(**parts, lengths=lengths, initial=initial), **make(9))
    y, state = lstm(**make(9), lengths=lengths, initial=initial)
    assert not y[1].any() and not y[2, 4:].any()
    assert torch.equal(state.c[1], initial.c[1]) and torch.equal(state.y[1], initial.y[1])
    y, state = lstm(**make(9), lengths=0 * lengths, initial=initial)
    assert not y.any() and torch.equal(state.c, initial.c)


def test_it_is_pytorchs():
    theirs = nn.LSTM(D, F, batch_first=True).double()
    x = torch.randn(B, 8, D, dtype=torch.float64)
    bias = theirs.bias_ih_l0 + theirs.bias_hh_l0
    y, state = lstm(x, theirs.weight_ih_l0, theirs.weight_hh_l0, bias)
    expected, (h, c) = theirs(x)
    torch.testing.assert_close((y, state.y, state.c), (expected, h[0], c[0]))


def test_no_tokens():
    for context in (use_definition, torch.no_grad):
        with context():
            y, state = lstm(**make(0))
        assert y.shape == (B, 0, F) and not state.c.any()


def test_errors():
    parts = make(3)
    with pytest.raises(ValueError, match=r"weight must have shape \(16, 5\), got \(16, 4\)"):
        lstm(**{**parts, "weight": parts["weight"][:, :4]})
    with pytest.raises(ValueError, match=r"initial.y must have shape \(3, 4\)"):
        lstm(**parts, initial=LstmState(torch.zeros(2, F), torch.zeros(2, F)))
    with pytest.raises(ValueError, match=r"recurrent \(4F, F\)"):
        lstm(**{**parts, "recurrent": parts["recurrent"].T})
