from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu, softplus

from anyformer.mixers import create_mixer


def test_one_token_by_hand() -> None:
    """From an empty state one token gives C B dt x + D x, gated."""
    mixer = create_mixer("mamba", 6, state_dim=3, dt_rank=2).double()
    x = torch.randn(1, 1, 6, dtype=torch.float64)
    u, gate = mixer.in_proj(x[0, 0]).chunk(2)
    u = silu(u * mixer.conv.weight[:, -1] + mixer.conv.bias)
    dt, B_, C_ = mixer.x_proj(u).split((2, 3, 3))
    y = softplus(mixer.dt_proj(dt)) * u * (B_ @ C_) + mixer.skip * u
    torch.testing.assert_close(mixer(x)[0, 0], mixer.out_proj(y * silu(gate)))


def test_initial_steps_are_in_their_range() -> None:
    mixer = create_mixer("mamba", 64)
    dt = softplus(mixer.dt_proj.bias)
    assert 0.00099 < dt.min() < 0.005 and 0.03 < dt.max() < 0.101
    assert torch.allclose(mixer.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))


def test_half_precision_states_are_float32() -> None:
    mixer = create_mixer("mamba", 8).bfloat16()
    y, state = mixer.stream(torch.randn(1, 5, 8, dtype=torch.bfloat16), mixer.init_state(1))
    assert y.dtype == torch.bfloat16 and state["own"]["h"].dtype == torch.float32


def test_mimetic_starts_as_linear_attention() -> None:
    """The layer's matrix is the lower triangle of likenesses, x_t^T W^T W x_s; with the usual start it is not."""
    torch.manual_seed(0)
    found = {}
    for init in ("mimetic", "usual"):
        mixer = create_mixer("mamba", 16, init=init).double()
        x = torch.randn(1, 30, 16, dtype=torch.float64)
        u = mixer.conv(mixer.in_proj(x).chunk(2, -1)[0])[0][0]
        _, B_, C_ = mixer.x_proj(u).split((1, 16, 16), -1)
        like = ((B_ + C_) @ (B_ + C_).T / 4).tril(-1)
        matrix = mixer.mixing(x).matrix[0].tril(-1).mean(0)
        found[init] = float(torch.corrcoef(torch.stack((like.flatten(), matrix.flatten())))[0, 1].detach())
    assert found["mimetic"] > 0.99 and found["usual"] < 0.9, found


def test_errors() -> None:
    with pytest.raises(ValueError, match="init must be usual, or mimetic with selective=True, got 'mimetic'"):
        create_mixer("mamba", 8, init="mimetic", selective=False)
    with pytest.raises(ValueError, match="causal=False is not possible"):
        create_mixer("mamba", 8, causal=False)
    with pytest.raises(ValueError, match="state_dim must be at least 1"):
        create_mixer("mamba", 8, state_dim=0)
