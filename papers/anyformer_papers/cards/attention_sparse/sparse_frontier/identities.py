"""Identities of The Sparse Frontier, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import reduces_to
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.ops.attention import attention
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.select import best_blocks, nearest_keys, page_bound, vertical_slash
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # a proxy: several questions after a prompt of 8 tokens, 4 keys of which may be read. Trained alike
    task="recall",
    arms={
        "pages": "[page_attention(page=2, pages=2)]*2",
        "eviction": "[evicting_attention(prompt=8, window=1, keep=3, pool=1)]*2",
    },
    options={"length": 24, "num_pairs": 4, "vocab_size": 16},
    smallest=0.05,
    steps=500,
    parameters=30_000,
)


def _qkv(T: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (torch.randn(2, 3, T, 8, dtype=torch.float64) for _ in range(3))
    return q, k, v


@identity("with nothing left out every method is dense attention")
def whole() -> None:
    q, k, v = _qkv()
    dense = attention(q, k, v, causal=True)
    proposals = {
        "columns and diagonals": vertical_slash(q, k, 20, 40, last=8),
        "all columns": vertical_slash(q, k, 40, 1, last=8),
        "blocks": best_blocks(q, k, 8, 4),
        "keys": nearest_keys(q, k, 40, causal=True),
    }
    for name, slots in proposals.items():
        close(name, gathered_attention(q, k, v, slots), dense, 1e-12)
    x = torch.randn(2, 40, 16, dtype=torch.float64)
    plain = create_mixer("attention", 16).double()
    for name, options in (
        ("page_attention", {"page": 8, "pages": 5}),
        ("evicting_attention", {"prompt": 30, "window": 6, "keep": 24}),
    ):
        mixer = create_mixer(name, 16, **options).double().eval()
        reduces_to(plain, mixer, x, what=name, tolerance=1e-12)


@identity("a page's score is at least the product with each of its keys, and equal for a page of one")
def bound() -> None:
    q, k, _ = _qkv()
    pages = k.unflatten(2, (5, 8))
    products = (q @ k.mT).unflatten(3, (5, 8))
    assert bool((page_bound(q, pages.amin(3), pages.amax(3))[..., None] >= products - 1e-12).all())
    close("one", page_bound(q, k, k), q @ k.mT, 1e-12)


@identity("a pattern of columns and diagonals, and one of blocks, is found where it is all there is")
def patterns() -> None:
    q, k, v = _qkv(32)
    base = torch.zeros_like(k)
    base[..., [5, 11], 0] = 40.0  # two columns that all look at
    q[..., 0] = 5.0
    slots = vertical_slash(q, base, 2, 1, last=8)
    seen = torch.zeros(32, 32, dtype=torch.bool)
    seen[:, [5, 11]] = True
    seen = (seen | torch.eye(32, dtype=torch.bool)).tril()
    close("columns", gathered_attention(q, base, v, slots), attention(q, base, v, visible=seen))
    close(
        "are all",
        gathered_attention(q, base, v, slots)[:, :, 12:],
        attention(q, base, v, causal=True)[:, :, 12:],
        1e-6,
    )


@identity("what one question does not look at is lost to the next under eviction, and not under pages")
def questions() -> None:
    """Two facts stand in the prompt, whose end looks at the first; then each is asked for."""
    x = torch.zeros(1, 24, 16, dtype=torch.float64)
    first, second = torch.eye(16, dtype=torch.float64)[:2]
    x[0, 3], x[0, 9], x[0, 15], x[0, 20], x[0, 21] = first, second, first, second, first
    found = {}
    for name, options in (
        ("page_attention", {"page": 4, "pages": 1}),
        ("evicting_attention", {"prompt": 16, "window": 1, "keep": 4, "pool": 1}),
    ):
        mixer = create_mixer(name, 16, num_heads=1, positions="none", **options).double().eval()
        for layer, scale in (("q", 40.0), ("k", 1.0), ("v", 1.0), ("out", 1.0)):
            mixer.load_state_dict({f"{layer}.weight": torch.eye(16) * scale}, strict=False)
        changed = x.clone()
        changed[0, 9] *= 1.5  # the second fact, which eviction has forgotten when it is asked for
        away = (mixer(changed) - mixer(x))[0].abs().amax(-1)
        found[name] = (float(away[20].detach()), float(away[21].detach()))
    assert found["page_attention"][0] > 0.1, found
    assert found["evicting_attention"] == (0.0, 0.0), found
