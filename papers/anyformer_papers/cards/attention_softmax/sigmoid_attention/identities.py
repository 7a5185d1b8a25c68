"""Identities of Sigmoid attention, and its study."""

from __future__ import annotations

import math

import torch

from anyformer.laws.checks import mixes
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # what has been learned of copying after few steps
    task="copy",
    arms={
        "sigmoid": "[attention(normalizer=sigmoid)]*2",
        "softmax": "[attention]*2",
    },
    options={"length": 32},
    smallest=0.05,
    expect="no worse",
    steps=400,
)


@identity("the whole core = x-transformers' sigmoid attention with the level as its bias")
def equals_x_transformers() -> None:
    attend = peer("x_transformers.attend").Attend(sigmoid=True, causal=True)
    q, k, v = (torch.randn(2, 3, 12, 8) for _ in range(3))
    level = -(torch.arange(12.0) + 1).log()[:, None].expand(3, 12, 12)
    close(
        "y",
        attention(q, k, v, causal=True, bias=level, normalizer="sigmoid"),
        attend(q, k, v, attn_bias=level)[0],
        1e-5,
    )


@identity("tiles of keys add up to the whole, without any state to rescale by")
def tiles() -> None:
    q, k, v = (torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (12, 30, 30))
    level = torch.tensor(-math.log(30.0), dtype=torch.float64).reshape(1, 1, 1, 1)
    whole, *parts = (
        attention(q, k[:, :, a:b], v[:, :, a:b], bias=level, normalizer="sigmoid")
        for a, b in ((0, 30), (0, 7), (7, 8), (8, 30))
    )
    close("sum of tiles", parts[0] + parts[1] + parts[2], whole)


@identity("scores of zero weigh n / (n + 1) together for a query of n keys, and n / 2 without the level")
def mass() -> None:
    x = torch.randn(1, 50, 16, dtype=torch.float64)
    n = torch.arange(1.0, 51.0, dtype=torch.float64).expand(1, 4, 50)
    for length, expected in ((None, n / (n + 1)), (1, n / 2), (50, n / 51)):
        mixer = Attention(16, normalizer="sigmoid", normalizer_length=length).double()
        torch.nn.init.zeros_(mixer.q.weight)
        close(f"normalizer_length={length}", mixes(mixer, x).sum(-1), expected)
