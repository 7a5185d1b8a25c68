"""Identities of Log-linear attention, and its study."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import logsigmoid, normalize

from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.linear.delta_net import DeltaNet
from anyformer.ops import use_definition
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.log_linear_attention import log_linear_attention
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # recall of more pairs than a state has rows
    task="recall",
    arms={
        "log-linear": "[delta_net(gated=true, correct=false, key_dim=8, num_levels=7)]*2",
        "linear": "[delta_net(gated=true, correct=false, key_dim=8, num_levels=0)]*2",
    },
    options={"num_pairs": 14, "length": 56},
    smallest=0.05,
    steps=800,
    parameters=45_816,
)


def _parts(T: int) -> dict[str, Any]:
    q, k, v = torch.randn(3, 2, 3, T, 6, dtype=torch.float64)
    return {"q": q, "k": normalize(k, dim=-1), "v": v, "log_decay": logsigmoid(2 + q[..., 0])}


@identity(
    "all pairs at once = one token at a time = blocks of chunks, on Mamba-2's and Gated DeltaNet's matrix"
)
def forms_agree() -> None:
    T = 150
    place = torch.arange(T)
    level = torch.tensor([[(t ^ s).bit_length() for s in range(T)] for t in range(T)])
    for delta in (False, True):
        parts = _parts(T)
        weights = torch.rand(2, 3, T, 9, dtype=torch.float64)
        G = parts["log_decay"].cumsum(-1)
        decay = (G[..., None] - G[..., None, :]).masked_fill(place > place[:, None], -torch.inf).exp()
        A = parts["q"] @ parts["k"].mT * decay
        beta = torch.rand(2, 3, T, dtype=torch.float64) if delta else None
        if beta is not None:
            taken_out = (beta[..., None] * (parts["k"] @ parts["k"].mT) * decay).tril(-1)
            A = A @ torch.linalg.inv(taken_out + torch.eye(T, dtype=torch.float64)) * beta[:, :, None]
        dense = (A * weights.gather(-1, level.expand(2, 3, T, T))) @ parts["v"]
        fast, states = log_linear_attention(**parts, weights=weights, beta=beta)
        with use_definition():
            slow, left = log_linear_attention(**parts, weights=weights, beta=beta)
        close("all pairs", fast, dense)
        close("one token at a time", fast, slow)
        assert states is not None and left is not None
        close("states", states, left)


@identity("lambda = 1 is the base, the mixer at its start too; the states add up to the base's")
def base() -> None:
    for delta in (False, True):
        parts = _parts(90)
        beta = torch.rand(2, 3, 90, dtype=torch.float64) if delta else None
        y, states = log_linear_attention(
            **parts, weights=torch.ones(2, 3, 90, 1, dtype=torch.float64), beta=beta
        )
        expected, state = linear_attention(**parts) if beta is None else delta_rule(**parts, beta=beta)
        assert states is not None
        close("outputs", y, expected)
        close("states", states.sum(2), state)
        mixers = [DeltaNet(16, gated=True, correct=delta, num_levels=n).double() for n in (5, 0)]
        with torch.no_grad():
            mixers[0].levels.weight.zero_()
        x = torch.randn(2, 40, 16, dtype=torch.float64)
        reduces_to(mixers[0], mixers[1], x, strict=False, tolerance=1e-6)  # its bias is a float32


@identity("after t tokens as many states hold something as t has bits set, of floor(log2 t) + 1 slots")
def live_states() -> None:
    parts = _parts(70)
    for t in (1, 2, 7, 64, 70):
        _, states = log_linear_attention(
            **{name: x[:, :, :t] for name, x in parts.items()}, weights=torch.ones(2, 3, t, 1)
        )
        assert states is not None and states.shape[2] == t.bit_length()
        live = states.abs().sum((0, 1, 3, 4)) > 0
        assert live.tolist() == [bool(t >> j & 1) for j in range(t.bit_length())]


@identity("flash-linear-attention's reference, which builds the matrix")
def equals_fla() -> None:
    naive = peer("fla.ops.log_linear_attn.naive").naive_log_linear_attn
    parts, weights = _parts(64), torch.rand(2, 3, 64, 7, dtype=torch.float64)
    turned = {name: x.transpose(1, 2) for name, x in parts.items()}
    theirs = naive(turned["q"], turned["k"], turned["v"], turned["log_decay"], weights.transpose(1, 2))
    close("fla", log_linear_attention(**parts, weights=weights)[0], theirs.transpose(1, 2))
