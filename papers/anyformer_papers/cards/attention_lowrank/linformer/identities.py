"""Identities of Linformer, and its study."""

from __future__ import annotations

import itertools

import torch

from anyformer.laws.checks import reduces_to, separate
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.low_rank.linformer import SHARING, Linformer
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(
    task="lookup",
    arms={
        "linformer": "[linformer(max_length=64, proj_len=8, sharing=key_value)]*2 causal=false "
        "positions=sinusoidal",
        "attention": "[attention]*2 causal=false positions=sinusoidal",
    },
    smallest=0.05,
    expect="no worse",
    steps=1000,
    parameters=30_000,
)


@identity("E = F = I is softmax attention")
def own_places() -> None:
    mixer = Linformer(16, max_length=12, proj_len=12, sharing="key_value").double()
    mixer.key_proj.data = torch.eye(12, dtype=torch.float64)[None]
    plain = create_mixer("attention", 16, positions="none", causal=False).double()
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    reduces_to(mixer, plain, x, weights=separate(mixer), tolerance=1e-12)


@identity("sharing is equality: heads with the same matrices are headwise, E = F is key_value")
def sharing() -> None:
    assert SHARING == ("none", "headwise", "key_value")
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    mixers = [Linformer(16, max_length=9, proj_len=4, sharing=name).double() for name in SHARING]
    most = mixers[2].state_dict()
    for mixer in mixers[:2]:
        e = most["key_proj"].expand_as(mixer.key_proj)
        reduces_to(mixers[2], mixer, x, weights={**most, "key_proj": e, "value_proj": e}, tolerance=1e-12)


@identity(
    "scores and values through a random E come nearer to the exact ones as k grows (Johnson-Lindenstrauss)"
)
def random_projection() -> None:
    n = 256
    weights, v = torch.randn(8, n, dtype=torch.float64).softmax(-1), torch.randn(n, 4, dtype=torch.float64)
    errors = []
    for k in (16, 64, 256):
        e = torch.randn(50, k, n, dtype=torch.float64) / k**0.5
        errors.append(float((weights @ e.mT @ (e @ v) - weights @ v).square().mean().sqrt()))
    for wide, narrow in itertools.pairwise(errors):
        assert 1.6 < wide / narrow < 2.5, errors  # the error is in O(1 / sqrt(k)): four times k halves it


@identity("the package linformer under the same weights")
def equals_linformer() -> None:
    theirs = peer("linformer").LinformerSelfAttention(16, 12, k=5, heads=4).double()
    ours = Linformer(16, max_length=12, proj_len=5).double()
    weights = [theirs.to_q.weight, theirs.to_k.weight, theirs.to_v.weight]
    ours.load_state_dict(
        {
            "qkv.weight": torch.cat(weights),
            "key_proj": theirs.proj_k.mT[None],
            "value_proj": theirs.proj_v.mT[None],
            "out.weight": theirs.to_out.weight,
        }
    )
    for n in (12, 7):
        x = torch.randn(2, n, 16, dtype=torch.float64)
        close(f"{n} tokens", ours(x) + theirs.to_out.bias, theirs(x), 1e-12)
