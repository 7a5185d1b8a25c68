from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import layer_norm

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("state_heads", [0, 1])
def test_step_by_step(state_heads: int) -> None:
    mixer = create_mixer("rwkv7", 6, num_heads=2, rank=2, state_heads=state_heads).double()
    with torch.no_grad():
        for p in mixer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x = torch.randn(7, 6, dtype=torch.float64)
    before, S, expected = torch.zeros(6, dtype=torch.float64), torch.zeros(2, 3, 3, dtype=torch.float64), []
    for token in x:
        xr, xw, xk, xv, xa, xg = (token + (before - token) * mix for mix in mixer.shift)
        before = token
        w = torch.exp(-math.exp(-0.5) * mixer.decay(xw).sigmoid())
        a, k, v, r = mixer.rate(xa).sigmoid(), mixer.k(xk), mixer.v(xv), mixer.r(xr)
        kappa = (k * mixer.erase_scale).view(2, 3)
        kappa = kappa / kappa.norm(dim=1, keepdim=True)
        k = k * (1 + (a - 1) * mixer.rate_share)
        w, a, k, v, r = (t.view(2, 3) for t in (w, a, k, v, r))
        taken = torch.einsum("hk,hkv->hv", kappa, S)
        S = w[..., None] * S - (kappa * a)[..., None] * taken[:, None] + k[..., None] * v[:, None]
        reads = r.clone()
        if state_heads:
            reads[0] = reads[0] + token[:3]
        y = layer_norm(torch.einsum("hk,hkv->hv", reads, S), (3,), eps=3e-5).flatten()
        y = y * mixer.norm_weight + mixer.norm_bias
        y = y + ((r * k * mixer.bonus).sum(1, keepdim=True) * v).flatten()
        expected.append(mixer.out(y * mixer.gate(xg)))
    torch.testing.assert_close(mixer(x[None])[0], torch.stack(expected))


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible for rwkv7"):
        create_mixer("rwkv7", 8, causal=False)
    with pytest.raises(ValueError, match="state_heads must be at most 2"):
        create_mixer("rwkv7", 8, num_heads=3, head_dim=4, state_heads=3)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        create_mixer("rwkv7", 8, rank=0)
