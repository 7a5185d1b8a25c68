"""Identities of Mimetic initialisation of state spaces, and its study."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from anyformer.contract import Mixer
from anyformer.laws.measures import close
from anyformer.mixers.linear.mamba2 import Mamba2
from anyformer.mixers.state_space.mamba import Mamba
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="recall",
    arms={
        "mimetic": "[mamba2(state_dim=16, init=mimetic)]*2 channel=none",
        "usual": "[mamba2(state_dim=16, init=usual)]*2 channel=none",
    },
    options={"vocab_size": 16, "num_pairs": 4, "length": 24},
    smallest=0.05,
    steps=300,
    parameters=29_300,
    seeds=10,
)


def matrix_and_likeness(mixer: Mamba | Mamba2, x: Tensor) -> tuple[Tensor, Tensor]:
    """Below the diagonal: the layer's matrix, averaged over heads, and the likenesses of its tokens."""
    mixing = mixer.mixing(x)
    assert mixing is not None
    if isinstance(mixer, Mamba):
        u, _ = mixer.conv(mixer.in_proj(x).chunk(2, -1)[0])
        _, B_, C_ = mixer.x_proj(u).split((mixer.dt_rank, mixer.state_dim, mixer.state_dim), -1)
    else:
        F, K = mixer.inner_dim, mixer.state_dim
        u, _ = mixer.conv(mixer.in_proj(x)[..., F : 2 * F + 2 * K])
        _, B_, C_ = u.split((F, K, K), -1)
    like = (B_ + C_) / 2
    below = torch.ones(x.shape[1], x.shape[1]).tril(-1) > 0
    return mixing.matrix[0].mean(0)[below].detach(), (like @ like.mT)[0][below].detach()


@identity(
    "at the start the layer's matrix is that of causal linear attention, correlation above 0.9; usually not"
)
def mimics() -> None:
    x = torch.randn(1, 40, 16, dtype=torch.float64)
    for cls in (Mamba, Mamba2):
        found = {}
        for init in ("mimetic", "usual"):
            mixer = cls(16, state_dim=16, init=init).double()
            found[init] = float(torch.corrcoef(torch.stack(matrix_and_likeness(mixer, x)))[0, 1])
        assert found["mimetic"] > 0.9 > 0.7 > found["usual"], (cls.__name__, found)


@identity("W_B = W_C, steps of one, no decay worth speaking of over a hundred tokens")
def ingredients() -> None:
    mixers: tuple[Mixer, ...] = (
        Mamba(16, state_dim=8, init="mimetic"),
        Mamba2(16, state_dim=8, init="mimetic"),
    )
    one, two = mixers
    assert isinstance(one, Mamba) and isinstance(two, Mamba2)
    _, B_, C_ = one.x_proj.weight.split((one.dt_rank, 8, 8))
    close("Mamba's W_B and W_C", B_, C_, 0)
    close("Mamba-2's", two.in_proj.weight[64:72], two.in_proj.weight[72:80], 0)
    for bias in (one.dt_proj.bias, two.dt_bias):
        close("steps", softplus(bias), torch.ones_like(bias), 1e-6)
    for A_log in (one.A_log[:, 0], two.A_log):
        assert float((-100 * A_log.exp()).exp().min().detach()) > 0.5
