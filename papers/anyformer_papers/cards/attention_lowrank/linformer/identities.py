"""Linformer."""

from __future__ import annotations

import itertools

import torch

from anyformer.mixers import create_mixer
from anyformer.mixers.linformer import SHARING, Linformer
from anyformer.testing.measures import close
from anyformer_papers.card import Card, peer
from anyformer_papers.study import Study

card = Card(
    slug="linformer",
    what="Keys and values are mixed along time by learned matrices into a fixed number of them, k, so that "
    "attention costs O(nk). The matrices are of every head alone, of all heads, or one for keys and values.",
    parts=("mixer linformer", "model linformer"),
    differs="softmax(q (E k)^T) F v with learned E, F (k, n). E = F = I is softmax attention; the Nyström method "
    "and pooling fix E and F to means; kernel methods change the softmax instead and need no longest length.",
    followed="paper",
    notes="Sequences shorter than n use the first columns of E and F, and padding, zero before it is projected, "
    "adds nothing; the paper does not say. One matrix for all layers (its layerwise sharing), other k in other "
    "layers and pooling or convolution in the place of E are left out: the paper finds the first equally good. "
    "Theorem 2 wants k in O(log n / eps^2) for random E, which depends on n only by its logarithm.",
    claim="At k = 128, n = 512 perplexity is nearly the Transformer's, whatever is shared, and GLUE scores are on "
    "par.",
    study=Study(
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
    ),
)


@card.exact("E = F = I is softmax attention")
def identity() -> None:
    mixer = Linformer(16, max_length=12, proj_len=12, sharing="key_value").double()
    mixer.key_proj.data = torch.eye(12, dtype=torch.float64)[None]
    plain = create_mixer("attention", 16, positions="none", causal=False).double()
    q, k, v = mixer.qkv.weight.detach().chunk(3)
    plain.load_state_dict({"q.weight": q, "k.weight": k, "v.weight": v, "out.weight": mixer.out.weight})
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    close("E = F = I", mixer(x), plain(x), 1e-12)


@card.exact("sharing is equality: heads with the same matrices are headwise, E = F is key_value")
def sharing() -> None:
    assert SHARING == ("none", "headwise", "key_value")
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    mixers = [Linformer(16, max_length=9, proj_len=4, sharing=name).double() for name in SHARING]
    most = mixers[2].state_dict()
    for mixer in mixers[:2]:
        e = most["key_proj"].expand_as(mixer.key_proj)
        mixer.load_state_dict({**most, "key_proj": e, "value_proj": e})
        close(str(mixer.key_proj.shape), mixer(x), mixers[2](x), 1e-12)


@card.exact(
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


@card.exact("the package linformer under the same weights")
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
