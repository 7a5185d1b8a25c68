"""Identities of Fastformer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.measures import close
from anyformer.mixers.linear.fastformer import Fastformer
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "fastformer": "[fastformer]*2 causal=false positions=learned(max_length=64) channel=mlp norm=layer_norm",
        "attention": "[attention]*2 causal=false positions=learned(max_length=64) channel=mlp norm=layer_norm",
    },
    smallest=0.01,
    expect="no worse",
    steps=1000,
    parameters=30_000,
    options={"length": 16},
)


@identity("the six formulas, head by head and token by token")
def token_by_token() -> None:
    mixer, x = Fastformer(6, num_heads=2, share_value=False).double(), torch.randn(9, 6, dtype=torch.float64)
    assert mixer.v is not None
    q, k, v, root = mixer.q(x), mixer.k(x), mixer.v(x), 3**0.5
    glob = torch.zeros(6, dtype=torch.float64)
    for h, head in enumerate((slice(0, 3), slice(3, 6))):
        alpha = torch.stack([mixer.query_score.weight[h] @ q[i] / root for i in range(9)]).softmax(0)
        glob[head] = torch.stack([alpha[i] * q[i, head] for i in range(9)]).sum(0)
    p, key = torch.stack([glob * k[i] for i in range(9)]), torch.zeros(6, dtype=torch.float64)
    for h, head in enumerate((slice(0, 3), slice(3, 6))):
        beta = torch.stack([mixer.key_score.weight[h] @ p[i] / root for i in range(9)]).softmax(0)
        key[head] = torch.stack([beta[i] * p[i, head] for i in range(9)]).sum(0)
    y = torch.stack([mixer.transform(key * v[i]) + q[i] for i in range(9)])
    close("y", mixer(x[None])[0], y)


@identity("a permutation of the tokens permutes the outputs")
def equivariant() -> None:
    mixer, x, order = Fastformer(16).double(), torch.randn(2, 30, 16, dtype=torch.float64), torch.randperm(30)
    close("permuted", mixer(x[:, order]), mixer(x)[:, order])


@identity("scores of zero pool by averages: y = W (mean(q) * mean(k) * q_i) + q_i")
def averages() -> None:
    mixer, x = Fastformer(16).double(), torch.randn(2, 30, 16, dtype=torch.float64)
    with torch.no_grad():
        mixer.query_score.weight.zero_()
        mixer.key_score.weight.zero_()
    q, k = mixer.q(x), mixer.k(x)
    close("y", mixer(x), mixer.transform(q.mean(1, True) * k.mean(1, True) * q) + q)
