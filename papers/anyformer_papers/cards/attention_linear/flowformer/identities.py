"""Identities of Flowformer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import from_heads, heads_of, mixes
from anyformer.laws.measures import close
from anyformer.mixers.linear.flow_attention import FlowAttention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "flow": "[flow_attention]*2 causal=false positions=sinusoidal",
        "linear": "[linear_attention]*2 causal=false positions=sinusoidal",
    },
    options={"length": 16},
    smallest=0.05,
    steps=1000,
    parameters=30_000,
)


def _flows(mixer: FlowAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Every flow from a source to a sink, (B, H, T, T), and the values."""
    q, k, v = heads_of(mixer, x)
    return q.sigmoid() @ k.sigmoid().mT, v


@identity(
    "the matrix of all flows, conserved row by row and column by column, gives the linear form's output"
)
def flow_matrix() -> None:
    mixer, x = FlowAttention(16, causal=False).double(), torch.randn(2, 30, 16, dtype=torch.float64)
    flows, v = _flows(mixer, x)
    inflow, outflow = flows.sum(3, keepdim=True), flows.sum(2, keepdim=True)
    taken, given = (flows / outflow).sum(3, keepdim=True), (flows / inflow).sum(2, keepdim=True)
    compete = 30 * given.clamp(-1, 1).softmax(3)
    y = taken.sigmoid() * ((flows / inflow * compete) @ v)
    close("y", mixer(x), from_heads(mixer, y), 1e-5)  # the mixer keeps flows off zero by 1e-6
    sources = mixes(mixer, x) / taken.sigmoid() / compete
    close("what flows into a sink", sources.sum(3), torch.ones(2, 4, 30), 1e-5)
    close("what flows out of a source", (flows / outflow).sum(2), torch.ones(2, 4, 30))


@identity("as causal it is the same with every sum and softmax over the prefix")
def causal_flows() -> None:
    mixer, x = FlowAttention(16).double(), torch.randn(2, 30, 16, dtype=torch.float64)
    flows, v = _flows(mixer, x)
    number, seen = torch.arange(1.0, 31)[:, None].double(), torch.ones(30, 30).tril().double()
    inflow, outflow = (flows * seen).sum(3), (flows * seen.T).sum(2)
    taken = (flows * seen / (outflow / number[:, 0])[:, :, None]).sum(3, keepdim=True) / number
    given = (flows.mT * seen / (inflow / number[:, 0])[:, :, None]).sum(3) / number[:, 0]
    strength = given.clamp(-1, 1).exp()
    compete = strength / strength.cumsum(2) * number[:, 0]
    y = taken.sigmoid() * ((flows * seen / inflow[..., None] * compete[:, :, None]) @ v)
    close("y", mixer(x), from_heads(mixer, y), 1e-5)


@identity("where all flows are equal nothing competes: y = sigmoid(1) times the average of the values")
def equal_flows() -> None:
    for causal in (True, False):
        mixer, x = FlowAttention(16, causal=causal).double(), torch.randn(2, 30, 16, dtype=torch.float64)
        with torch.no_grad():
            mixer.q.weight.zero_()
            mixer.k.weight.zero_()
        v = mixer.v(x)
        mean = v.cumsum(1) / torch.arange(1, 31)[:, None] if causal else v.mean(1, keepdim=True).expand_as(v)
        close("y", mixer(x), mixer.out(mean * torch.tensor(1.0).sigmoid().double()), 1e-5)
