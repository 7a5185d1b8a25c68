from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call
from anyformer.layers.heads import merge_heads
from anyformer.mixers import create_mixer


def test_step_by_step() -> None:
    """The recurrence, with a gate at the third and the sixth token."""
    mixer = create_mixer("rfa", 6, num_heads=2, sentence_gate=True).double()
    x, start = torch.randn(1, 8, 6, dtype=torch.float64), torch.zeros(1, 8, dtype=torch.bool)
    start[0, [2, 5]] = True
    q, k, v = (layer(x).unflatten(-1, (2, 3))[0] for layer in (mixer.q, mixer.k, mixer.v))
    w = mixer.draws * mixer.log_sigma.exp()
    S, z, y = torch.zeros(2, 6, 3, dtype=torch.float64), torch.zeros(2, 6, dtype=torch.float64), []

    def phi(u: torch.Tensor) -> torch.Tensor:
        turns = torch.einsum("hik,hk->hi", w, u / u.norm(dim=-1, keepdim=True))
        return torch.cat((turns.sin(), turns.cos()), -1) / 3**0.5

    for t in range(8):
        g = mixer.gate(x[0, t]).sigmoid() if start[0, t] else torch.ones(2, dtype=torch.float64)
        S = g[:, None, None] * S + phi(k[t])[:, :, None] * v[t][:, None]
        z = g[:, None] * z + phi(k[t])
        total = torch.einsum("hk,hk->h", phi(q[t]), z).clamp_min(1e-2)
        y.append(torch.einsum("hk,hkv->hv", phi(q[t]), S) / total[:, None])
    expected = mixer.out(merge_heads(torch.stack(y, 1)[None]))
    torch.testing.assert_close(mixer(x, call=Call(side={"sentence_start": start})), expected)


def test_draws_come_from_the_seed() -> None:
    same, other = (create_mixer("rfa", 8, seed=s).draws for s in (0, 1))
    assert torch.equal(same, create_mixer("rfa", 8).draws) and not torch.equal(same, other)


def test_errors() -> None:
    with pytest.raises(ValueError, match="sentence_gate must be False with causal=False"):
        create_mixer("rfa", 8, sentence_gate=True, causal=False)
    with pytest.raises(ValueError, match="num_features must be at least 1, got 0"):
        create_mixer("rfa", 8, num_features=0)
    mixer, side = create_mixer("rfa", 8, sentence_gate=True), {"sentence_start": torch.ones(1, 3)}
    with pytest.raises(ValueError, match="sentence_start must be bool, got torch.float32"):
        mixer(torch.randn(1, 3, 8), call=Call(side=side))
