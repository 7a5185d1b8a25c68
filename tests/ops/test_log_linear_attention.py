from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.log_linear_attention import log_linear_attention

B, H, K, V, L = 2, 3, 5, 4, 5


def make(T: int, delta: bool, decay: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(0)
    parts = {
        "q": torch.randn(B, H, T, K, dtype=torch.float64),
        "k": normalize(torch.randn(B, H, T, K, dtype=torch.float64), dim=-1),
        "v": torch.randn(B, H, T, V, dtype=torch.float64),
        "weights": torch.rand(B, H, T, L, dtype=torch.float64),
    }
    if decay:
        parts["log_decay"] = logsigmoid(2 + torch.randn(B, H, T, dtype=torch.float64))
    if delta:
        parts["beta"] = torch.rand(B, H, T, dtype=torch.float64)
    return parts


@pytest.mark.parametrize("T", [1, 2, 31, 33, 100])
@pytest.mark.parametrize("delta", [False, True])
def test_fast_form_is_the_definition(agrees, T, delta):
    agrees(log_linear_attention, **make(T, delta))


def test_without_decay(agrees):
    agrees(log_linear_attention, **make(40, False, decay=False))


@pytest.mark.parametrize("T", [1, 3, 70])
@pytest.mark.parametrize("delta", [False, True])
def test_from_the_middle(T, delta):
    """Pieces, each sample from a place of its own, are the whole: outputs and states."""
    starts, ends = torch.tensor([37, 6]), torch.tensor([37 + T, 6 + T])
    parts = make(120, delta)
    whole, _ = log_linear_attention(**parts)
    for b, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        one = {name: t[b : b + 1] for name, t in parts.items()}
        _, past = log_linear_attention(**{name: t[:, :, :start] for name, t in one.items()})
        _, expected = log_linear_attention(**{name: t[:, :, :end] for name, t in one.items()})
        y, state = log_linear_attention(
            **{name: t[:, :, start:end] for name, t in one.items()}, start=starts[b : b + 1], initial=past
        )
        torch.testing.assert_close(y[0], whole[b, :, start:end])
        torch.testing.assert_close(state, expected)


@pytest.mark.parametrize("delta", [False, True])
def test_tokens_that_do_not_count(delta):
    parts, lengths = make(50, delta), torch.tensor([17, 0])
    _, state = log_linear_attention(**parts, lengths=lengths)
    _, expected = log_linear_attention(**{name: t[:1, :, :17] for name, t in parts.items()})
    torch.testing.assert_close(state[:1], expected)
    assert not state[1].any()


def test_the_level_of_each_pair():
    """The weight of a pair is that of the bit length of t XOR s, the last one beyond the last."""
    parts = make(60, False, decay=False)
    q, k, v, weights = (parts[name] for name in ("q", "k", "v", "weights"))
    expected = torch.zeros_like(v)
    for t in range(60):
        for s in range(t + 1):
            weight = weights[:, :, t, min((t ^ s).bit_length(), L - 1), None]
            expected[:, :, t] += weight * (q[:, :, t] * k[:, :, s]).sum(-1, keepdim=True) * v[:, :, s]
    torch.testing.assert_close(log_linear_attention(q, k, v, weights)[0], expected)


def test_with_all_weights_one_it_is_the_base():
    for delta in (False, True):
        parts = make(77, delta)
        parts["weights"] = torch.ones_like(parts["weights"])
        y, states = log_linear_attention(**parts)
        del parts["weights"]
        expected, state = (delta_rule if delta else linear_attention)(**parts)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(states.sum(2), state)


def test_errors():
    parts = make(4, False)
    with pytest.raises(ValueError, match="weights must have shape"):
        log_linear_attention(**{**parts, "weights": parts["weights"][..., 0]})
    with pytest.raises(ValueError, match="beta must have shape"):
        log_linear_attention(**parts, beta=torch.ones(2, 2))
