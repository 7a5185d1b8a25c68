"""Identities of Key-driven grouped-query attention, and its study."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from anyformer.convert.heads import group_heads
from anyformer.laws.checks import from_heads, heads_of, reduces_to
from anyformer.laws.measures import close
from anyformer.mixers.softmax.attention import Attention
from anyformer.mixers.softmax.key_driven_attention import KeyDrivenAttention, allocate
from anyformer.models import create_model
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: trained from scratch, on small images
    task="digits",
    arms={
        name: f"[key_driven_attention(num_heads=8, num_kv_heads=4, allocation={name}, every=20)]*2 "
        "causal=false positions=learned"
        for name in ("change", "equal")
    },
    options={"canvas": 12},
    smallest=0.02,
    steps=1000,
    parameters=30_000,
)


@identity(
    "any groups = multi-head attention with each key/value head repeated as often as it serves, by torch"
)
def repeated() -> None:
    x = torch.randn(2, 12, 32, dtype=torch.float64)
    for weights, counts in (
        ([1.0, 5.0, 2.0], [1, 5, 2]),
        ([0.0, 1.0, 1.0], [0, 4, 4]),
        ([9.0, 0.1, 0.1], [8, 0, 0]),
    ):
        mixer = KeyDrivenAttention(32, num_heads=8, num_kv_heads=3, positions="none").double()
        mixer.weights.copy_(torch.tensor(weights))
        assert allocate(mixer.weights, 8).tolist() == counts
        q, *kv = heads_of(mixer, x)
        k, v = (t.repeat_interleave(torch.tensor(counts), 1) for t in kv)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        close(f"{counts}", mixer(x), from_heads(mixer, y))


@identity("equal groups = torch's grouped-query attention, and ours")
def equal_groups() -> None:
    options: dict[str, Any] = {"num_heads": 8, "num_kv_heads": 4, "positions": "none"}
    mixer, x = KeyDrivenAttention(32, allocation="equal", **options).double(), torch.randn(2, 12, 32).double()
    q, k, v = heads_of(mixer, x)
    y = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    close("torch", mixer(x), from_heads(mixer, y))
    reduces_to(mixer, Attention(32, **options).double(), x, strict=False)


@identity("shares always add up to the query heads, and are those of the paper's rounding where that adds up")
def shares() -> None:
    weights = torch.rand(2000, 5, dtype=torch.float64)
    counts, plain = allocate(weights, 12), (weights / weights.sum(1, keepdim=True) * 12).round()
    assert (counts.sum(1) == 12).all()
    fits = plain.sum(1) == 12
    assert fits.any() and torch.equal(counts[fits].double(), plain[fits])


@identity(
    "a converted model with as many heads as before is the same, and grouped heads are the mean of theirs"
)
def converted() -> None:
    model, x = create_model("[attention]*2 dim=16", vocab_size=5).double(), torch.randint(5, (2, 9))
    close("no fewer heads", group_heads(model, 4)(x), model(x), 1e-12)
    grouped = group_heads(model, 2, part="key_driven_attention")
    old, new = (m.get_parameter("body.stack.sublayers.0.k.weight") for m in (model, grouped))
    close("mean", new, old.unflatten(0, (2, 2, 4)).mean(1).flatten(0, 1))
