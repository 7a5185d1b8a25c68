from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu

import anyformer.mixers.state_space.longhorn as module
from anyformer.mixers import create_mixer


def test_the_loop_by_hand() -> None:
    mixer = create_mixer("longhorn", 6, state_dim=3, beta_rank=2).double()
    x = torch.randn(1, 10, 6, dtype=torch.float64)
    u, gate = mixer.in_proj(x).chunk(2, -1)
    u = mixer.conv(u)[0][0]
    beta, k, q = mixer.x_proj(u).split((2, 3, 3), -1)
    beta = mixer.beta_proj(beta).sigmoid()
    state, outputs = torch.zeros(12, 3, dtype=torch.float64), []
    for t in range(10):
        eps = (beta[t] / (1 + beta[t] * (k[t] @ k[t])))[:, None]
        state = (1 - eps * k[t] ** 2) * state + eps * u[t][:, None] * k[t]
        outputs.append(state @ q[t] + mixer.skip * u[t])
    torch.testing.assert_close(mixer(x)[0], mixer.out_proj(torch.stack(outputs) * silu(gate[0])))


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible for longhorn"):
        create_mixer("longhorn", 8, causal=False)
    with pytest.raises(ValueError, match="state_dim must be at least 1, got 0"):
        create_mixer("longhorn", 8, state_dim=0)


def test_stretches_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, k, q = torch.randn(2, 13, 3), torch.randn(2, 13, 4), torch.randn(2, 13, 4)
    given = [t.double() for t in (x, torch.rand(2, 13, 3), k, q, torch.randn(2, 3, 4))]
    found = []
    for elements in (module.TILE_ELEMENTS, 2 * 3 * 4 * 5):
        monkeypatch.setattr(module, "TILE_ELEMENTS", elements)
        mine = [t.clone().requires_grad_() for t in given]
        y, state = module.longhorn(*mine)
        (y.sin().sum() + state.cos().sum()).backward()
        found.append([y, state, *(t.grad for t in mine)])
    torch.testing.assert_close(found[0], found[1])
