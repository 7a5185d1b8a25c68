"""Identities of MASFormer, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import from_heads, heads_of, reduces_to, streams
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model
from anyformer.ops.attention import attention
from anyformer.state import state_bytes
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # pairs to be recalled from further back than windows reach
    task="recall",
    arms={
        "one full layer": "[attention(window=4), attention, attention(window=4)*2]",
        "windows only": "[attention(window=4), attention(window=4), attention(window=4)*2]",
    },
    options={"length": 24, "num_pairs": 4, "vocab_size": 16},
    smallest=0.1,
    steps=400,
    parameters=30_000,
    batch_size=16,
)


@identity("windows as wide as the sequence are the vanilla model")
def wide() -> None:
    tokens = torch.randint(11, (2, 30))
    plain = create_model("[attention]*4 dim=16", vocab_size=11).double()
    wide = create_model("[attention(window=30), attention, attention(window=31)*2] dim=16", vocab_size=11)
    wide = wide.double()
    reduces_to(plain, wide, tokens)


@identity("a local layer = attention under a banded mask, and keeps no more than its window of the past")
def banded() -> None:
    mixer = Attention(16, window=5, positions="none").double()
    x = torch.randn(2, 40, 16, dtype=torch.float64)
    q, k, v = heads_of(mixer, x)
    age = torch.arange(40)[:, None] - torch.arange(40)
    y = attention(q, k, v, visible=(age >= 0) & (age < 5))
    close("band", mixer(x), from_heads(mixer, y))
    state = streams(mixer, x)
    assert state["own"]["k"].shape[2] == 4


@identity("of 24 layers, 4 full ones and windows of 1024 at 8192 tokens: 63% fewer pairs, 70% less cache")
def saved() -> None:
    n, w = 8192, 1024
    full, local = n * (n + 1) // 2, w * (w + 1) // 2 + (n - w) * w
    assert 0.62 < 1 - (4 * full + 20 * local) / (24 * full) < 0.64
    assert 0.70 < 1 - (4 * n + 20 * w) / (24 * n) < 0.74
    model = create_model("[attention, attention(window=8)*3] dim=16", vocab_size=11)
    whole = create_model("[attention]*4 dim=16", vocab_size=11)
    tokens = torch.randint(11, (1, 64))
    held = [state_bytes(m.stream(tokens, m.init_state(1))[1]) for m in (model, whole)]
    assert held[0] / held[1] < 0.4
