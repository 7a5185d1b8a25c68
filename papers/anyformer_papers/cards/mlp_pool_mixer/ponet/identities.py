"""Identities of PoNet, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import permutes
from anyformer.laws.measures import close
from anyformer.mixers.pooling.ponet import PoNet
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="listops",
    arms={
        "ponet": "[ponet]*2 causal=false positions=sinusoidal",
        "attention": "[attention]*2 causal=false positions=sinusoidal",
    },
    smallest=0.02,
    options={"length": 16},
    steps=1000,
    parameters=30_000,
)


@identity("the mixer = a loop over tokens, each sample alone and only its real tokens")
def loop() -> None:
    mixer = PoNet(8, num_heads=2, segment_len=4, local_window=3).double()
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    mask = torch.arange(11) < torch.tensor([[11], [6]])
    y = mixer(x, mask=mask)
    for b, T in enumerate((11, 6)):
        q, k, v, s, l, o = (m(x[b, :T]) for m in mixer.maps.values())  # noqa: E741
        heads = []
        for h in (slice(0, 4), slice(4, 8)):
            weights = torch.softmax(k[:, h] @ q.mean(0)[h] / 2, 0)
            heads.append(weights @ v[:, h])
        g = torch.cat(heads)
        for t in range(T):
            start = t - t % 4
            segment = s[start : min(start + 4, T)].amax(0)
            near = l[max(0, t - 1) : t + 2].amax(0)
            close(f"token {t}", y[b, t], g * o[t] + segment * o[t] + near)


@identity("a single segment is global max-pooling, and segments of one token are the token itself")
def segments() -> None:
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    one = PoNet(8, num_heads=2, segment_len=100).double()
    close("one segment", one._segments(x), x.amax(1, keepdim=True).expand(2, 9, 8))
    close("segments of one", PoNet(8, segment_len=1)._segments(x), x)


@identity("without neighbours and segments it only knows the bag of the others: moving tokens moves outputs")
def bag() -> None:
    mixer = PoNet(8, segment_len=100, local_window=1).double()
    permutes(mixer, torch.randn(1, 9, 8, dtype=torch.float64))
