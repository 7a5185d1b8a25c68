from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyformer.layers.ema import DampedEMA


def by_the_formula(ema: DampedEMA, x: Tensor, direction: int) -> Tensor:
    """Equation 6, one token at a time."""
    alpha, delta = ema.alpha[direction].sigmoid(), ema.delta[direction].sigmoid()
    state, outputs = torch.zeros(len(x), ema.dim, ema.num_averages, dtype=x.dtype), []
    for u in x.unbind(1):
        state = alpha * (ema.beta[direction] * u[..., None]) + (1 - alpha * delta) * state
        outputs.append((ema.eta[direction] * state).sum(-1))
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("T", [1, 2, 63, 130])
def test_convolution_is_the_recurrence(T: int) -> None:
    ema, x = DampedEMA(3, 5).double(), torch.randn(2, T, 3, dtype=torch.float64, requires_grad=True)
    inputs = [x, *ema.parameters()]
    found = []
    for y in (ema(x), by_the_formula(ema, x, 0)):
        found.append([y, *torch.autograd.grad(y.sin().sum(), inputs, allow_unused=True)])
    for a, b in zip(*found):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-9, atol=1e-9)


def test_both_ways_the_present_is_in_both_averages() -> None:
    ema, x = DampedEMA(3, 4, bidirectional=True).double(), torch.randn(2, 9, 3, dtype=torch.float64)
    ahead = by_the_formula(ema, x.flip(1), 1).flip(1)
    torch.testing.assert_close(ema(x), by_the_formula(ema, x, 0) + ahead, rtol=1e-9, atol=1e-9)


def test_streams_ragged_pieces() -> None:
    ema, x = DampedEMA(3, 4).double(), torch.randn(2, 30, 3, dtype=torch.float64)
    state, taken, outputs = ema.init_state(2, x.device, x.dtype), [0, 0], ([], [])
    for sizes in ((7, 3), (0, 1), (1, 0), (22, 26)):
        piece = torch.zeros(2, max(sizes), 3, dtype=torch.float64)
        for b, size in enumerate(sizes):
            piece[b, :size] = x[b, taken[b] : taken[b] + size]
        y, state = ema.stream(piece, state, torch.tensor(sizes))
        for b, size in enumerate(sizes):
            outputs[b].append(y[b, :size])
            taken[b] += size
    torch.testing.assert_close(
        torch.stack([torch.cat(rows) for rows in outputs]), ema(x), rtol=1e-9, atol=1e-9
    )
    assert state.shape == (2, 3, 4)


def test_slow_and_closed_averages_stay_finite() -> None:
    """Decays of almost one over many tokens, and of zero."""
    ema = DampedEMA(1, 2)
    with torch.no_grad():
        ema.alpha[...] = torch.tensor([-12.0, 60.0])
        ema.delta[...] = torch.tensor([0.0, 60.0])
    exact = DampedEMA(1, 2).double()
    exact.load_state_dict(ema.state_dict())
    x = torch.randn(1, 20_000, 1)
    y = ema(x)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ema.parameters())
    torch.testing.assert_close(y.double(), exact(x.double()), rtol=1e-4, atol=1e-4)


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_averages must be at least 1, got 0"):
        DampedEMA(3, 0)
