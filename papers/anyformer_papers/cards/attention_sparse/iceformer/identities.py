"""Identities of IceFormer, and its study."""

from __future__ import annotations

import torch

from anyformer.convert import keep_best_keys
from anyformer.laws.checks import streams
from anyformer.laws.measures import close
from anyformer.models import create_model
from anyformer.ops.attention import attention
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.select import lift, nearest_keys
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = (
    Study(  # a proxy: the accuracy of it. Both arms train alike; the first is evaluated on 4 keys of up to 24
        task="recall",
        arms={"best keys": "[top_k_attention(top=4)]*2", "all keys": "[attention]*2"},
        options={"length": 24, "num_pairs": 4, "vocab_size": 16},
        smallest=0.02,
        expect="no worse",
        steps=400,
        parameters=30_000,
    )
)


@identity(
    "the nearest of the lifted keys are those of the highest scores, and |q' - k'|^2 = 2 - 2 q.k / (c |q|)"
)
def lifting() -> None:
    q, k = torch.randn(2, 3, 40, 8, dtype=torch.float64), torch.randn(2, 3, 60, 8, dtype=torch.float64)
    lifted_q, lifted_k = lift(q, k)
    close("unit", lifted_k.norm(dim=-1), torch.ones(2, 3, 60, dtype=torch.float64))
    far = torch.cdist(lifted_q, lifted_k)
    c = k.norm(dim=-1).amax(-1)[..., None, None]
    close("distance", far**2, 2 - 2 * (q @ k.mT) / (c * q.norm(dim=-1, keepdim=True)))
    assert torch.equal(far.argsort(-1), (q @ k.mT).argsort(-1, descending=True))
    assert torch.equal(far.topk(7, largest=False).indices, nearest_keys(q, k, 7))


@identity("a converted model with k = n gives the same outputs, whole and streamed")
def all_keys() -> None:
    model = create_model("[attention(num_kv_heads=2)]*2 dim=16", vocab_size=9).double().eval()
    x = torch.randint(9, (2, 30))
    close("k = n", keep_best_keys(model, 30)(x), model(x), 1e-12)
    streams(keep_best_keys(model, 5), x, 7, tolerance=1e-12)


@identity("the error is at most twice the softmax mass that is left out, times the largest value")
def bound() -> None:
    q, k, v = (torch.randn(1, 2, 50, 8, dtype=torch.float64) for _ in range(3))
    p = (2 * q @ k.mT).softmax(-1)
    for top in (1, 5, 20, 50):
        y = gathered_attention(q, k, v, nearest_keys(q, k, top), scale=2.0)
        away = (y - attention(q, k, v, scale=2.0)).norm(dim=-1)
        missed = 1 - p.topk(top).values.sum(-1)
        assert bool((away <= 2 * missed * v.norm(dim=-1).max() + 1e-12).all()), top
