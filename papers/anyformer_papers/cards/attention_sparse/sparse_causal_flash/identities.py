"""Identities of Sparse causal flash attention, and its study."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from anyformer.laws.checks import equal_with_gradients, mixes
from anyformer.laws.measures import close
from anyformer.mixers.sparse.hash_attention import HashAttention
from anyformer.ops import use_native
from anyformer.ops.bucket_attention import bucket_attention, key_spans, visited_tiles
from anyformer.ops.select import hash_buckets
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(  # what is found, at a length at which nothing is faster
    task="lookup",
    arms={
        "hash": "[hash_attention(num_buckets=2)]*2 positions=sinusoidal",
        "attention": "[attention]*2 positions=sinusoidal",
    },
    smallest=0.05,
    expect="no worse",
    steps=1000,
    parameters=30_000,
)


@identity("with nothing dropped it is causal attention")
def whole() -> None:
    q, k, v = (torch.randn(2, 3, 40, 8, dtype=torch.float64) for _ in range(3))
    one = torch.zeros(2, 3, 40, dtype=torch.int64)
    for native in (True, False):
        with use_native(native):
            y = bucket_attention(q, k, v, one, one, causal=True)
            close("torch", y, scaled_dot_product_attention(q, k, v, is_causal=True))


@identity("QK-sparse and Hash-sparse = dense attention under the mask, gradients included")
def masks() -> None:
    q, k, v = (torch.randn(1, 2, 150, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    kept = torch.where(torch.rand(1, 2, 150) < 0.5, 0, -1)
    kept[..., 0] = 0  # or a query would see nothing, where torch gives NaN
    hashed = hash_buckets(q, torch.randn(2, 8, 3))
    for bucket, strict in ((kept, False), (hashed, True)):
        seen = (bucket[..., :, None] == bucket[..., None, :]).tril(-1 if strict else 0) & (bucket >= 0)[
            ..., None
        ]
        some = seen.any(-1, keepdim=True)
        expected = scaled_dot_product_attention(q, k, v, attn_mask=seen | ~some) * some
        for native in (True, False):
            with use_native(native):
                y = bucket_attention(q, k, v, bucket, bucket, causal=True, strict=strict)
            equal_with_gradients("y", y, expected, (q, k, v))


@identity("dropping half of the queries and keys leaves about a quarter of the tiles")
def tiles() -> None:
    n, tile = 1024, 32
    counts = []
    for share in (0.0, 0.5):
        bucket = torch.where(torch.rand(1, 1, n).argsort(-1) < share * n, -1, 0)
        found = key_spans(bucket, bucket, causal=True)
        start, stop = found.start[0], found.stop[0]
        order = torch.where(start < stop, stop, n + 1).argsort(1)
        counts.append(int(visited_tiles(start.gather(1, order), stop.gather(1, order), n, tile).sum()))
    assert counts == [32 * 33 // 2, 16 * 17 // 2], counts


@identity("no pair of a bucket is lost, however full it is: with one direction half of all pairs are seen")
def all_pairs() -> None:
    mixer = HashAttention(16, num_heads=1, num_buckets=2).double()
    matrix = mixes(mixer, torch.randn(1, 60, 16, dtype=torch.float64))
    side = matrix[0, 0, -1] > 0
    seen = (side[:, None] == side).tril(-1)[:-1, :-1]
    assert torch.equal((matrix[0, 0] > 0)[:-1, :-1], seen)
