"""Identities of RFA with sentential gates, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from anyformer.contract import Call
from anyformer.laws.measures import close
from anyformer.mixers.linear.rfa import RandomFeatureAttention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a language model in the place of the translator's decoder
    task="bytes",
    arms={
        "rfa": "[rfa]*2 positions=sinusoidal",
        "attention": "[attention]*2 positions=sinusoidal",
    },
    options={"length": 64},
    smallest=0.05,
    expect="no worse",
    steps=1500,
    parameters=100_000,
)


@identity("phi(q) phi(k) is the Gaussian kernel of unit vectors, to 3 / sqrt(D)")
def kernel() -> None:
    for D in (256, 16384):
        mixer = RandomFeatureAttention(8, num_heads=1, num_features=D).double()
        q, k = normalize(torch.randn(2, 1, 1, 40, 8, dtype=torch.float64), dim=-1)
        expected = (-torch.cdist(q, k).square() / 2).exp()
        close(f"{D} draws", mixer.features(q) @ mixer.features(k).mT, expected, 3 * D**-0.5)


@identity("with many draws it is softmax attention of unit queries and keys, causal and not")
def softmax() -> None:
    for causal in (True, False):
        mixer = RandomFeatureAttention(8, num_heads=1, num_features=40_000, causal=causal).double()
        x = torch.randn(1, 12, 8, dtype=torch.float64)
        q, k = (normalize(layer(x), dim=-1) for layer in (mixer.q, mixer.k))
        scores = q @ k.mT
        hidden = torch.ones(12, 12, dtype=torch.bool).triu(1) & causal
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        close("softmax", mixer(x), mixer.out(weights @ mixer.v(x)), 0.03)


@identity("gates at one, or no sentence starts, are RFA; gates at zero make each sentence one of its own")
def gates() -> None:
    gated, plain = (RandomFeatureAttention(16, sentence_gate=g).double() for g in (True, False))
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate")})
    x, start = torch.randn(2, 30, 16, dtype=torch.float64), torch.zeros(2, 30, dtype=torch.bool)
    call = Call(side={"sentence_start": start})
    assert gated.gate is not None
    close("no sentence starts", gated(x, call=call), plain(x))
    start[:, [0, 11, 20]] = True
    with torch.no_grad():
        gated.gate.weight.zero_()
        gated.gate.bias.fill_(50.0)
    close("open", gated(x, call=call), plain(x))
    with torch.no_grad():
        gated.gate.bias.fill_(-50.0)
    alone = torch.cat([plain(part) for part in x.split([11, 9, 10], 1)], 1)
    close("shut", gated(x, call=call), alone)
