from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu, softplus

from anyformer.mixers import create_mixer
from anyformer.mixers.linear.mamba2 import SelectiveInputs, ssd, ssd_matrix


def test_one_token_by_hand() -> None:
    """From an empty state one token gives (C . B) dt x + D x in each head, gated and normed."""
    mixer = create_mixer("mamba2", 6, state_dim=3, num_heads=2).double()
    x = torch.randn(1, 1, 6, dtype=torch.float64)
    gate, xbc, dt = mixer.in_proj(x[0, 0]).split((12, 18, 2))
    u, B_, C_ = silu(xbc * mixer.conv.weight[:, -1] + mixer.conv.bias).split((12, 3, 3))
    y = (softplus(dt + mixer.dt_bias) * (B_ @ C_) + mixer.skip).repeat_interleave(6) * u * silu(gate)
    y = y * (y.square().mean() + 1e-5).rsqrt()
    torch.testing.assert_close(mixer(x)[0, 0], mixer.out_proj(y))


def test_the_matrix_is_the_recurrence() -> None:
    x, (B_, C_) = torch.randn(1, 2, 9, 4).double(), torch.randn(2, 1, 2, 9, 3).double()
    dt, A = torch.rand(1, 2, 9).double(), -torch.rand(2).double()
    chosen = SelectiveInputs(x, dt, B_, C_)
    torch.testing.assert_close(ssd_matrix(chosen, A) @ x, ssd(chosen, A)[0])


def test_initial_steps_and_rates() -> None:
    mixer = create_mixer("mamba2", 64, num_heads=32)
    dt = softplus(mixer.dt_bias)
    assert 0.00099 < dt.min() < 0.01 and 0.02 < dt.max() < 0.101
    assert mixer.A_log.exp().min() >= 1 and mixer.A_log.exp().max() <= 16


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_heads must divide dim \\* expand = 16, got 3"):
        create_mixer("mamba2", 8, num_heads=3)
    with pytest.raises(ValueError, match="num_groups must divide num_heads=4, got 3"):
        create_mixer("mamba2", 8, num_groups=3)
    with pytest.raises(ValueError, match="causal=False is not possible for mamba2"):
        create_mixer("mamba2", 8, causal=False)
    with pytest.raises(ValueError, match="init must be one of usual, mimetic, got 'other'"):
        create_mixer("mamba2", 8, init="other")
