"""Identities of LongNet, and its study."""

from __future__ import annotations

import torch

from anyformer.laws.checks import equal_with_gradients, from_heads, heads_of, reduces_to
from anyformer.laws.measures import close
from anyformer.mixers import create_mixer
from anyformer.mixers.sparse.dilated_attention import DilatedAttention
from anyformer.ops.attention import attention, merge
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # both look at 11 to 12 keys a token in the mean
    task="bytes",
    arms={
        "dilated": "[dilated_attention(segments=16/1+64/4)]*2",
        "sparse transformer": "[sparse_attention(stride=8)]*2",
    },
    options={"length": 64},
    smallest=0.03,
    expect="no worse",
    steps=1500,
    parameters=100_000,
)


@identity("one segment of rate 1 is dense causal attention")
def whole() -> None:
    x = torch.randn(2, 24, 16, dtype=torch.float64)
    mixer = create_mixer("dilated_attention", 16, segments="24/1").double()
    plain = create_mixer("attention", 16).double()
    reduces_to(mixer, plain, x)


@identity("mixing by denominators = one softmax over the multiset union of the keys, values and gradients")
def multiset() -> None:
    T, H, pairs = 37, 4, [(4, 1), (12, 3), (32, 4)]
    mixer = DilatedAttention(16, segments=pairs, positions="none").double()
    x = torch.randn(2, T, 16, dtype=torch.float64, requires_grad=True)
    i, j, h = torch.arange(T)[:, None], torch.arange(T), torch.arange(H)[:, None, None]
    count = torch.zeros(H, T, T, dtype=torch.float64)  # how many branches let head h have the pair
    for w, r in pairs:
        count += (i // w == j // w) & (i % w % r == h % r) & (j % w % r == h % r) & (j <= i)
    q, k, v = heads_of(mixer, x)
    y = attention(q, k, v, bias=count.log(), visible=count > 0)
    equal_with_gradients("y", mixer(x), from_heads(mixer, y), (x, *mixer.parameters()))


@identity("keys in sight grow linearly, and steps between any two tokens like the logarithm")
def reachable() -> None:
    sizes, steps = [], []
    for levels in (3, 4, 5):
        n = 4**levels
        pairs = [(4 ** (level + 1), 4**level) for level in range(levels)]
        index = torch.arange(n)[None]
        seen = torch.zeros(n, n, dtype=torch.bool)
        total = 0
        for branch in DilatedAttention.Options(causal=False, segments=pairs).branches():
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


@identity("over two shards, the second one needs of the first only the dilated keys of segments in both")
def shards() -> None:
    T, half, rate = 32, 16, 4
    mixer = DilatedAttention(16, segments=[(8, 1), (T, rate)], positions="none").double()
    x, index = torch.randn(2, T, 16, dtype=torch.float64), torch.arange(T)[None]
    q, k, v = heads_of(mixer, x)
    branches = []
    for branch in mixer.branches:
        parts = []
        for heads, spec in branch:
            sees = spec.dense(index[:, half:], index)[0]
            held = sees.any(0)
            assert int(held[:half].sum()) == (half // rate if len(branch) > 1 else 0)
            queries, keys, values = q[:, heads, half:], k[:, heads][:, :, held], v[:, heads][:, :, held]
            parts.append(attention(queries, keys, values, visible=sees[:, held], return_lse=True))
        branches.append(tuple(torch.cat(each, 1) for each in zip(*parts, strict=True)))
    y, _ = merge([(y, lse) for y, lse in branches])
    close("the second shard", from_heads(mixer, y), mixer(x)[:, half:])
