from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


def test_a_step_by_hand() -> None:
    """One head of one token after another: the state moves by beta towards the value of its key."""
    mixer = create_mixer("delta_net", 4, num_heads=1, conv_width=0).double()
    x = torch.randn(1, 5, 4, dtype=torch.float64)
    S, expected = torch.zeros(4, 4, dtype=torch.float64), []
    for token in x[0]:
        q, k, v = torch.nn.functional.silu(mixer.qkv(token)).split(4)
        q, k = q / q.norm(), k / k.norm()
        S = S + mixer.beta(token).sigmoid() * torch.outer(k, v - k @ S)
        expected.append(mixer.out(mixer.norm(q @ S)))
    torch.testing.assert_close(mixer(x)[0], torch.stack(expected))


def test_a_gate_forgets() -> None:
    """With a large rate nothing of the past is left."""
    mixer = create_mixer("delta_net", 8, num_heads=2, conv_width=0, gated=True).double()
    with torch.no_grad():
        mixer.log_rate.fill_(20.0)
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer(x)[:, -1:], mixer(x[:, -1:]))


def test_without_the_correction_values_add_up() -> None:
    """The same sum for one token; two tokens of one key then hold the sum of both values, not the second."""
    delta, hebb = (
        create_mixer("delta_net", 4, num_heads=1, conv_width=0, correct=c).double() for c in (True, False)
    )
    hebb.load_state_dict(delta.state_dict())
    x = torch.randn(1, 1, 4, dtype=torch.float64)
    torch.testing.assert_close(hebb(x), delta(x))
    _, once = hebb.stream(x, hebb.init_state(1, dtype=torch.float64))
    _, twice = hebb.stream(x, once)
    torch.testing.assert_close(twice["own"]["s"], 2 * once["own"]["s"])
    _, held = delta.stream(x, once)
    beta = delta.beta(x).sigmoid()
    torch.testing.assert_close(held["own"]["s"], (2 - beta) * once["own"]["s"])


def test_the_slots_of_a_log_linear_state() -> None:
    """As many as the number of tokens has bits: 1, 2, 2, 3 after 1, 2, 3, 4 tokens."""
    mixer, slots = create_mixer("delta_net", 8, num_levels=5), []
    state = mixer.init_state(1)
    for _ in range(4):
        _, state = mixer.stream(torch.randn(1, 1, 8), state)
        slots.append(state["own"]["s"].shape[2])
    assert slots == [1, 2, 2, 3]


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible"):
        create_mixer("delta_net", 8, causal=False)
    with pytest.raises(ValueError, match="num_heads must divide"):
        create_mixer("delta_net", 9, num_heads=2)
    with pytest.raises(ValueError, match="num_levels must be at least 0, got -1"):
        create_mixer("delta_net", 8, num_levels=-1)
