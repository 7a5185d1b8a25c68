"""Identities of SSA, and its study."""

from __future__ import annotations

import torch

from anyformer.contract import Call
from anyformer.generate.ensemble import self_ensemble
from anyformer.laws.checks import from_heads, heads_of, reduces_to
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.subsampled_attention import SubsampledAttention
from anyformer.models import create_model
from anyformer.ops import FlopCounter
from anyformer.ops.attention import attention
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={
        "subsampled": "[subsampled_attention(keep=0.5)]*2 causal=false positions=sinusoidal",
        "dense": "[subsampled_attention(keep=1.0)]*2 causal=false positions=sinusoidal",
    },
    smallest=0.02,
    expect="no worse",
    steps=1000,
    parameters=30_000,
    options={"canvas": 12},
)


@identity("with all keys, and in evaluation, it is attention")
def dense() -> None:
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    plain = create_mixer("attention", 16).double()
    for keep, train in ((1.0, True), (1.0, False), (0.25, False)):
        mixer = SubsampledAttention(16, keep=keep).double().train(train)
        weights = {**plain.state_dict(), "dense": torch.tensor(False)}
        reduces_to(plain, mixer, x, weights=weights, what=f"keep {keep}", tolerance=1e-12)


@identity("a draw is dense attention with the other keys masked")
def masked() -> None:
    x, call = torch.randn(1, 20, 16, dtype=torch.float64), Call(side={"pathway": torch.tensor([5])})
    mixer = SubsampledAttention(16, num_heads=2, keep=0.25, positions="none").double().eval()
    generator = torch.Generator().manual_seed(5 * 4099 + 1)
    kept = torch.rand(20, generator=generator).topk(5).indices
    seen = torch.zeros(20, 20, dtype=torch.bool)
    seen[:, kept] = True
    q, k, v = heads_of(mixer, x)
    y = attention(q, k, v, visible=seen.tril())
    close("mask", mixer(x, call=call), from_heads(mixer, y), 1e-12)


@identity("a quarter of the keys takes a quarter of the operations that scores and values take")
def cost() -> None:
    counted = {}
    for keep in (0.25, 1.0):
        mixer = SubsampledAttention(16, keep=keep, causal=False).train()
        maps = 2 * 512 * 4 * 16 * 16  # queries, keys, values and outputs of all tokens
        with torch.no_grad(), FlopCounter() as counter:
            mixer(torch.randn(1, 512, 16))
        counted[keep] = counter.total - maps
    assert counted[1.0] == 4 * counted[0.25], counted


@identity("windows with drawn borders let a pair at distance d meet with probability 1 - d / w")
def near_ones_more_often() -> None:
    mixer = SubsampledAttention(4, num_heads=1, local_window=4, causal=False, positions="none").train()
    for layer in (mixer.q, mixer.k):
        torch.nn.init.zeros_(layer.weight)
    for layer in (mixer.v, mixer.out):
        layer.weight.data = torch.eye(4)
    x, met = torch.zeros(1, 12, 4), torch.zeros(6)
    x[0, 5] = 1.0
    for _ in range(800):
        met += (mixer(x)[0, 5:11, 0].detach() > 0).float() / 800
    close("probability", met, torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0, 0.0]), 0.08)


@identity("the ensemble's probabilities are the mean of its draws'")
def ensemble() -> None:
    model = create_model("[subsampled_attention(keep=0.5)]*2 dim=16", vocab_size=5).eval()
    x = torch.randint(5, (2, 12))
    one = [self_ensemble(model, x, 1, seed=seed) for seed in range(4)]
    close("mean", self_ensemble(model, x, 4), torch.stack(one).mean(0), 1e-6)
    close("sum", self_ensemble(model, x, 4).sum(-1), torch.ones(2, 12), 1e-6)
