"""LongNet."""

from __future__ import annotations

import torch

from anyformer.mixers import create_mixer
from anyformer.mixers.dilated_attention import DilatedAttention
from anyformer.ops.attention import attention
from anyformer.papers import Card, Study
from anyformer.testing.measures import close

card = Card(
    slug="longnet",
    what="Dilated attention: within segments of w tokens every r-th token attends to every r-th, with several pairs "
    "(w, r) of which both grow geometrically, so that near tokens meet often and far ones through few others, in "
    "linear time.",
    parts=("mixer dilated_attention", "model longnet", "op sparse_attention", "ops.attention:merge"),
    differs="Query i sees, in branch (w, r), {j: floor(j / w) = floor(i / w), i = j = h mod r}; branches are mixed by "
    "their softmax denominators. Sparse Transformer's strided factor thins out the keys of all queries, and has one "
    "softmax over the union, where a pair counts once.",
    followed="paper",
    notes="The paper gives head j the offset j mod r, its code contiguous groups of heads, the same up to their order. "
    "The code holds the mixing weights without gradient; here they have the one that the softmax has, as the formula "
    "says. xPos, of the paper's backbone, is left out (RoPE is there). The distributed form is not built.",
    claim="Length scales to a billion tokens at linear cost; at equal compute its perplexity is below that of a dense "
    "Transformer and of the Sparse Transformer, the more so the longer the text.",
    beyond_reach="scale",
    study=Study(  # a proxy: both look at 11 to 12 keys a token in the mean
        task="bytes",
        arms={
            "dilated": "[dilated_attention(segments=16/1+64/4)]*2",
            "sparse transformer": "[sparse_attention(stride=8)]*2",
        },
        options={"length": 64},
        smallest=0.03,
        expect="no worse",
        steps=300,
        parameters=30_000,
        batch_size=16,
    ),
)


@card.exact("one segment of rate 1 is dense causal attention")
def whole() -> None:
    x = torch.randn(2, 24, 16, dtype=torch.float64)
    mixer = create_mixer("dilated_attention", 16, segments="24/1").double()
    plain = create_mixer("attention", 16).double()
    plain.load_state_dict(mixer.state_dict())
    close("y", mixer(x), plain(x))


@card.exact("mixing by denominators = one softmax over the multiset union of the keys, values and gradients")
def multiset() -> None:
    T, H, pairs = 37, 4, [(4, 1), (12, 3), (32, 4)]
    mixer = DilatedAttention(16, segments=pairs, positions="none").double()
    x = torch.randn(2, T, 16, dtype=torch.float64, requires_grad=True)
    i, j, h = torch.arange(T)[:, None], torch.arange(T), torch.arange(H)[:, None, None]
    count = torch.zeros(H, T, T, dtype=torch.float64)  # how many branches let head h have the pair
    for w, r in pairs:
        count += (i // w == j // w) & (i % w % r == h % r) & (j % w % r == h % r) & (j <= i)
    q, k, v = (part(x).unflatten(2, (H, -1)).transpose(1, 2) for part in (mixer.q, mixer.k, mixer.v))
    y = attention(q, k, v, bias=count.log(), visible=count > 0)
    expected = mixer.out(y.transpose(1, 2).flatten(2))
    close("y", mixer(x), expected)
    grads = [
        torch.autograd.grad(out.square().sum(), (x, *mixer.parameters())) for out in (mixer(x), expected)
    ]
    for one, other in zip(*grads, strict=True):
        close("gradient", one, other)


@card.exact("keys in sight grow linearly, and steps between any two tokens like the logarithm")
def reachable() -> None:
    sizes, steps = [], []
    for levels in (3, 4, 5):
        n = 4**levels
        pairs = [(4 ** (level + 1), 4**level) for level in range(levels)]
        index = torch.arange(n)[None]
        seen = torch.zeros(n, n, dtype=torch.bool)
        total = 0
        for branch in DilatedAttention.patterns(num_heads=4, causal=False, segments=pairs):
            for _, spec in branch:
                mask = spec.dense(index, index)[0]
                seen |= mask
                total += int(mask.sum())
        reached, count = seen, 1
        while not bool(reached.all()):
            reached, count = (reached.float() @ seen.float()) > 0, count + 1
        sizes.append(total / n)
        steps.append(count)
    assert sizes[2] - sizes[1] <= sizes[1] - sizes[0] < 5 and sizes[2] < 32, sizes
    assert steps[2] - steps[1] == steps[1] - steps[0] <= 2, steps
