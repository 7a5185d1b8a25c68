from __future__ import annotations

import pytest
import torch

from anyformer.channels import create_channel
from anyformer.mixers import create_mixer


def test_wkv_by_its_sum() -> None:
    """Equation 16, summed directly; small exponents, so that nothing overflows."""
    mixer = create_mixer("rwkv4", 4).double()
    with torch.no_grad():
        mixer.log_decay.uniform_(-3, 0)
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    before = torch.cat((torch.zeros(1, 1, 4, dtype=torch.float64), x[:, :-1]), 1)
    k, v, r = (
        getattr(mixer, name)(
            x * getattr(mixer, f"mix_{name}") + before * (1 - getattr(mixer, f"mix_{name}"))
        )[0]
        for name in ("key", "value", "receptance")
    )
    expected = []
    for t in range(7):
        age = torch.arange(t - 1, -1, -1, dtype=torch.float64)[:, None]
        weights = torch.cat((k[:t] - age * mixer.log_decay.exp(), k[t : t + 1] + mixer.bonus)).exp()
        expected.append(mixer.output(r[t].sigmoid() * (weights * v[: t + 1]).sum(0) / weights.sum(0)))
    torch.testing.assert_close(mixer(x)[0], torch.stack(expected))


def test_large_keys_do_not_overflow() -> None:
    mixer = create_mixer("rwkv4", 8)
    x = 1e4 * torch.randn(1, 50, 8)
    x.requires_grad_()
    y = mixer(x)
    y.sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("create, name", [(create_mixer, "rwkv4"), (create_channel, "rwkv4_channel")])
def test_errors(create, name: str) -> None:
    with pytest.raises(ValueError, match="causal=False is not possible"):
        create(name, 8, causal=False)
    with pytest.raises(ValueError, match="hidden_dim must be at least 1"):
        create(name, 8, hidden_dim=0)
