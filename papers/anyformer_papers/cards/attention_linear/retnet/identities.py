"""Identities of RetNet, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import heads_of, mixes, streams
from anyformer.laws.measures import close
from anyformer.mixers.linear.retention import Retention
from anyformer.ops.linear_attention import linear_attention
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="bytes",
    arms={"retention": "[retention]*2", "attention": "[attention]*2"},
    options={"length": 64},
    smallest=0.05,
    expect="no worse",
    steps=1500,
    parameters=100_000,
)


@identity("all pairs at once = one token at a time = pieces of any size")
def forms_agree() -> None:
    mixer = Retention(16, num_heads=2).double()
    x = torch.randn(2, 50, 16, dtype=torch.float64)
    mixes(mixer, x)
    streams(mixer, x, 1, 7)


@identity("without decay it is linear attention")
def no_decay() -> None:
    q, k, v = (torch.randn(2, 3, 40, 8, dtype=torch.float64) for _ in range(3))
    none, _ = linear_attention(q, k, v)
    one, _ = linear_attention(q, k, v, log_decay=torch.zeros(3, dtype=torch.float64))
    close("gamma = 1", one, none)
    close("the sum over all pairs", one, (q @ k.mT).tril() @ v)


@identity("the whole mixer around flash-linear-attention's reference core")
def equals_fla() -> None:
    naive = peer("fla.ops.retention.naive").naive_retention
    mixer = Retention(16, num_heads=2, value_factor=1)
    x = torch.randn(2, 50, 16)
    q, k, v = heads_of(mixer, x)
    q, k = mixer.rope.rotate(q, k, torch.arange(50.0).expand(2, 50))
    close("fla", mixer(x), mixer._finish(naive(q, k, v), x), 1e-5)
