"""Identities of TransMamba, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import reduces_to, streams
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.linear.mamba2 import SelectiveInputs, ssd
from anyformer.mixers.linear.transmamba import TransMamba, convert_memory
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={
        "both": "[transmamba(trans_point=24)]*2 positions=none",
        "state space": "[transmamba(trans_point=0)]*2 positions=none",
    },
    options={"length": 64},
    smallest=0.05,
    expect="no worse",
    steps=1500,
    parameters=100_000,
)

X = (2, 30, 8)


def mixer_at(point: int) -> TransMamba:
    torch.manual_seed(1)
    return TransMamba(8, trans_point=point, num_heads=2, state_dim=4).double()


@identity("P = 0 is Mamba-2 under the same weights")
def no_attention() -> None:
    mixer, x = mixer_at(0), torch.randn(X, dtype=torch.float64)
    plain = create_mixer("mamba2", 8, num_heads=2, state_dim=4, num_groups=2).double()
    reduces_to(mixer, plain, x)


@identity("P from the length on is softmax attention of C, B and x")
def only_attention() -> None:
    mixer, x = mixer_at(1000), torch.randn(X, dtype=torch.float64)
    gate, xbc, _ = mixer.in_proj(x).split((16, 32, 2), -1)
    v, k, q = mixer.conv(xbc)[0].split((16, 8, 8), -1)
    v, k, q = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (v, k, q))
    scores = q @ k.mT / 2 + torch.full((30, 30), -torch.inf, dtype=torch.float64).triu(1)
    y = scores.softmax(-1) @ v + mixer.skip[:, None, None] * v
    close("attention", mixer(x), mixer.out_proj(mixer.norm(y.transpose(1, 2).flatten(2), gate)))


@identity("from P on outputs are those of a full pass of the state space: the conversion loses nothing")
def conversion() -> None:
    x = torch.randn(X, dtype=torch.float64)
    for point in (1, 7, 29):
        close(f"from {point} on", mixer_at(point)(x)[:, point:], mixer_at(0)(x)[:, point:])
    v, dt = torch.randn(1, 2, 9, 3).double(), torch.rand(1, 2, 9).double()
    B_, C_ = torch.randn(2, 1, 2, 9, 4).double()
    chosen, A = SelectiveInputs(v, dt, B_, C_), -torch.rand(2).double()
    close("the state", convert_memory(chosen, A), ssd(chosen, A)[1])


@identity("one token at a time = the parallel pass, across P")
def streamed() -> None:
    mixer, x = mixer_at(11), torch.randn(X, dtype=torch.float64)
    state = streams(mixer, x)
    assert state["own"]["first"]["k"].shape[2] == 11  # keys are kept up to P only
