"""Identities of Relative position representations, and its study."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from anyformer.laws.checks import from_heads, heads_of, reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.positions.shaw import Shaw
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="translation",
    arms={
        "shaw": "[attention]*2 positions=shaw",
        "sinusoidal": "[attention]*2 positions=sinusoidal",
    },
    options={"length": 32, "words": 12, "names": 24},
    smallest=0.05,
    steps=800,
    parameters=40_000,
)
REACH = 3


@identity("the formula: loops over queries, keys and channels, edges looked up in a table of relations")
def loops() -> None:
    mixer = Attention(8, num_heads=2, positions={"name": "shaw", "reach": REACH}).double()
    x, T = torch.randn(2, 9, 8, dtype=torch.float64), 9
    q, k, v = heads_of(mixer, x)
    edge_k, edge_v = (
        torch.zeros(T, T, 4, dtype=torch.float64) for _ in range(2)
    )  # the relation of each pair
    shaw = mixer.positions
    assert isinstance(shaw, Shaw)
    for i in range(T):
        for j in range(T):
            c = max(-REACH, min(REACH, j - i)) + REACH
            edge_k[i, j] = shaw.on_keys[c].detach()
            edge_v[i, j] = shaw.on_values[c].detach()
    z = torch.zeros_like(q)
    for i in range(T):
        scores = torch.stack([(q[:, :, i] * (k[:, :, j] + edge_k[i, j])).sum(-1) for j in range(i + 1)], -1)
        p = (scores / 2.0).softmax(-1)
        for j in range(i + 1):
            z[:, :, i] += p[:, :, j, None] * (v[:, :, j] + edge_v[i, j])
    close("loops", mixer(x), from_heads(mixer, z), 1e-12)


@identity("with vectors of zero it is attention without positions")
def plain() -> None:
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    none = Attention(16, positions="none").double()
    mixer = Attention(16, positions="shaw").double()
    zeros = {f"positions.{name}": torch.zeros_like(p) for name, p in mixer.positions.named_parameters()}
    reduces_to(none, mixer, x, weights={**none.state_dict(), **zeros}, tolerance=1e-12)


@identity("all places moved by the same distance change nothing")
def shifted() -> None:
    mixer, x = Attention(16, positions="shaw").double(), torch.randn(2, 20, 16, dtype=torch.float64)
    place = torch.arange(20, dtype=torch.float64).expand(2, 20)
    close("moved", mixer(x, positions=place + 1000), mixer(x), 1e-12)


@identity("the term of keys is transformers' relative_key")
def equals_transformers() -> None:
    theirs = peer("transformers.models.wav2vec2_bert.modeling_wav2vec2_bert")
    q, k = (torch.randn(2, 2, 9, 4, dtype=torch.float64) for _ in range(2))
    scheme = Shaw(8, 2, 4, reach=REACH).double()
    table = torch.nn.Embedding.from_pretrained(scheme.on_keys.detach())
    module = SimpleNamespace(
        left_max_position_embeddings=REACH,
        right_max_position_embeddings=REACH,
        distance_embedding=table,
        scaling=0.5,
    )
    _, expected = theirs._apply_relative_key_position_encoding(module, q, k)
    place = torch.arange(9, dtype=torch.float64).expand(2, 9)
    close("bias", scheme.score(q, k, place, place), expected, 1e-12)
