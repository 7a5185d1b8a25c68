from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import anyformer.ops.bucket_attention as module
from anyformer.ops import use_native
from anyformer.ops.bucket_attention import bucket_attention, key_spans, visited_tiles


def make(
    T: int, S: int, buckets: int, H: int = 4, G: int = 2, B: int = 2
) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(T * 31 + S)
    shapes = ((B, H, T, 4), (B, G, S, 4), (B, G, S, 4))
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return tensors, [torch.randint(-1, buckets, (B, H, n)) for n in (T, S)]


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"causal": True, "strict": True}])
@pytest.mark.parametrize("T, S, buckets", [(13, 29, 3), (29, 29, 1), (29, 29, 40), (1, 1, 1)])
def test_agrees_with_the_definition(
    agrees: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    T: int,
    S: int,
    buckets: int,
    options: dict[str, bool],
) -> None:
    monkeypatch.setattr(module, "TILE", 4)
    monkeypatch.setattr(module, "TILE_ELEMENTS", 80)  # pairs of tiles in groups of five
    (q, k, v), (q_bucket, k_bucket) = make(T, S, buckets)
    more = {**options, "q_bucket": q_bucket, "k_bucket": k_bucket}
    agrees(lambda **a: bucket_attention(**a, **more), q=q, k=k, v=v)


def test_tokens_in_any_order(agrees: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", 4)
    (q, k, v), (q_bucket, k_bucket) = make(17, 17, 3)
    number = torch.rand(2, 4, 17).argsort(-1)
    more = {"q_bucket": q_bucket, "k_bucket": k_bucket, "q_index": number, "k_index": number, "causal": True}
    agrees(lambda **a: bucket_attention(**a, **more), q=q, k=k, v=v)


def test_nothing_dropped_is_plain_attention() -> None:
    (q, k, v), _ = make(21, 21, 1, G=4)
    one = torch.zeros(2, 4, 21, dtype=torch.int64)
    y = bucket_attention(q, k, v, one, one, causal=True)
    torch.testing.assert_close(y, scaled_dot_product_attention(q, k, v, is_causal=True))


def test_dropping_half_of_queries_and_keys_leaves_a_quarter_of_the_tiles() -> None:
    T, tile = 512, 16
    whole = torch.zeros(1, 1, T, dtype=torch.int64)
    half = whole.masked_fill(torch.rand(T).argsort() < T // 2, -1)
    counts = []
    for bucket in (whole, half):
        found = key_spans(bucket, bucket, causal=True)
        start, stop = found.start[0], found.stop[0]
        order = torch.where(start < stop, stop, T + 1).argsort(1)
        visited = visited_tiles(start.gather(1, order), stop.gather(1, order), T, tile)
        counts.append(int(visited.sum()))
    n = T // tile
    assert counts == [n * (n + 1) // 2, n // 2 * (n // 2 + 1) // 2]
    assert 3.5 < counts[0] / counts[1] < 4


def test_in_buckets_fewer_tiles_are_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    (q, k, v), _ = make(64, 64, 1, H=1, G=1, B=1)
    bucket = (torch.arange(64) % 8)[None, None]
    found = key_spans(bucket, bucket)
    order = (found.start[0] * 65 + found.stop[0]).argsort(1)
    visited = visited_tiles(found.start[0].gather(1, order), found.stop[0].gather(1, order), 64, 8)
    assert torch.equal(visited[0], torch.eye(8).bool())  # 8 tokens a bucket, 8 a tile: each tile alone
    monkeypatch.setattr(module, "TILE", 8)
    with use_native(False):
        y = bucket_attention(q, k, v, bucket, bucket)
    expected = scaled_dot_product_attention(q, k, v, attn_mask=bucket[..., None] == bucket[:, :, None])
    torch.testing.assert_close(y, expected)


def test_errors() -> None:
    (q, k, v), (q_bucket, k_bucket) = make(5, 7, 2)
    with pytest.raises(ValueError, match=r"k_bucket must be int64 of shape \(2, 4, 7\), got \(2, 4, 5\)"):
        bucket_attention(q, k, v, q_bucket, q_bucket)
    with pytest.raises(ValueError, match="q_index and k_index must be given together"):
        bucket_attention(q, k, v, q_bucket, k_bucket, q_index=q_bucket)
    with pytest.raises(ValueError, match="at least as many keys as queries, got 5 and 7"):
        bucket_attention(q[:, :, [0] * 7], k[:, :, :5], v[:, :, :5], k_bucket, q_bucket)
