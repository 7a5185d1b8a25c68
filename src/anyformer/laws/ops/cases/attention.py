"""Example calls of attention, dense and sparse, and of the selection of keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anyformer.laws.ops.cases.case import Draw, OpCase, Sizes, op_family
from anyformer.ops import attention, bucket_attention, gathered_attention, masks, select, sparse_attention


@op_family
def _attention(r: Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    op: Callable[..., Any] = attention.attention
    given, grouped = r.heads(s), r.grouped(s)
    places = {"q_place": r.uniform(B, H, T) * 5, "k_place": r.uniform(B, H, T) * 5}
    tile_of = partial(attention.attend_tile, scale=0.5)
    tile = {**grouped, "visible": r.uniform(B, 1, T, T) < 0.7}

    def placed(q_place: Tensor, k_place: Tensor, **t: Tensor) -> Any:
        return op(**t, places=(q_place, k_place), return_lse=True)

    def parts(y0: Tensor, lse0: Tensor, y1: Tensor, lse1: Tensor) -> Any:
        return attention.merge([(y0, lse0), (y1, lse1)])

    apart = {
        "y0": given["v"],
        "lse0": r.normal(B, H, T),
        "y1": r.normal(B, H, T, V),
        "lse1": r.normal(B, H, T),
    }
    return [
        OpCase("attention", "", op, given),
        OpCase("attention", "causal", lambda **t: op(**t, causal=True), grouped),
        OpCase("attention", "one width", op, {**given, "v": given["k"] + 1}),
        OpCase(
            "attention",
            "one width, causal",
            lambda **t: op(**t, causal=True),
            {**grouped, "v": grouped["k"] + 1},
        ),
        OpCase("attention", "log-sum-exp", lambda **t: op(**t, causal=True, return_lse=True), grouped),
        OpCase("attention", "visible", op, tile),
        OpCase("attention", "bias", op, {**given, "bias": r.normal(1, H, T, T)}),
        OpCase("attention", "places", placed, {**given, **places}),
        OpCase("attention", "sigmoid", lambda **t: op(**t, normalizer="sigmoid"), given),
        OpCase("attention", "silu", lambda **t: op(**t, normalizer="silu"), given),
        OpCase("merge", "", parts, apart),
        OpCase("attend_tile", "", tile_of, tile),
        OpCase("distance", "", attention.distance, places),
    ]


@op_family
def _sparse_attention(r: Draw, s: Sizes) -> list[OpCase]:
    B, H, T, _, _ = s
    given, op = r.grouped(s), sparse_attention.sparse_attention
    window = masks.Window(3, 0) & masks.Causal()
    dilated = masks.Dilated(9, 0, 3) & masks.Causal()
    index = torch.stack(
        [torch.randperm(T, generator=torch.Generator().manual_seed(b)) for b in range(B)]
        or [torch.zeros(T, dtype=torch.int64)]
    )[:B]
    marked = {"global_mask": torch.arange(T).expand(B, T) % 7 == 2}
    order = {"q_index": index, "k_index": index.clone()}

    def masked(spec: masks.MaskSpec) -> Callable[..., Any]:
        return lambda **t: op(t.pop("q"), t.pop("k"), t.pop("v"), spec, return_lse=True, **t)

    return [
        OpCase("sparse_attention", "window", masked(window), given),
        OpCase("sparse_attention", "dilated", masked(dilated), given),
        OpCase(
            "sparse_attention",
            "global",
            masked((window | masks.Global()) & masks.Causal()),
            {**given, **marked},
            frozenset(marked),
        ),
        OpCase("sparse_attention", "in any order", masked(window), {**given, **order}, frozenset(order)),
        *_listed_attention(r, s),
    ]


def _listed_attention(r: Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, V = s
    given, op = r.grouped(s), bucket_attention.bucket_attention
    buckets = {"q_bucket": r.integers(0, 3, B, 2 * H, T), "k_bucket": r.integers(0, 3, B, 2 * H, T)}
    numbers = {"q_index": r.integers(0, 40, B, 2 * H, T), "k_index": r.integers(0, 40, B, 2 * H, T)}
    slots = {"slots": r.integers(-1, T, B, 2 * H, T, 5)}
    spans = {"start": r.integers(0, 5, B, T), "stop": r.integers(5, 9, B, T)}
    gathered = gathered_attention.gathered_attention
    return [
        OpCase("bucket_attention", "", op, {**given, **buckets}, frozenset(buckets)),
        OpCase(
            "bucket_attention",
            "numbered",
            lambda **t: op(**t, causal=True),
            {**given, **buckets, **numbers},
            frozenset({**buckets, **numbers}),
        ),
        OpCase("key_spans", "", bucket_attention.key_spans, {**buckets, **numbers}),
        OpCase("visited_tiles", "", lambda **t: bucket_attention.visited_tiles(**t, keys=T, tile=4), spans),
        OpCase("gathered_attention", "", gathered, {**given, **slots}),
        OpCase("gathered_attention", "bias", gathered, {**given, **slots, "bias": r.normal(B, 1, T, 5)}),
    ]


@op_family
def _selections(r: Draw, s: Sizes) -> list[OpCase]:
    B, H, T, K, _ = s
    heads, grouped = r.heads(s), r.grouped(s)
    q, k = heads["q"], heads["k"]
    pages = {"q": q, "low": -r.uniform(B, H, 3, K), "high": r.uniform(B, H, 3, K)}
    bucket, index = r.integers(0, 3, B, H, T), torch.arange(T).expand(B, H, T).clone()
    numbers = {"q_bucket": bucket, "k_bucket": bucket, "q_index": index, "k_index": index}

    def nearest(q: Tensor, k: Tensor) -> Tensor:
        return select.nearest_keys(q, k, 3, causal=True)

    return [
        OpCase("best_keys", "", lambda scores: select.best_keys(scores, 3), {"scores": r.normal(B, H, T, 9)}),
        OpCase("nearest_keys", "", nearest, {"q": grouped["q"], "k": k}),
        OpCase("lift", "", select.lift, {"q": q, "k": k}),
        OpCase("hash_buckets", "", select.hash_buckets, {"x": q, "directions": r.normal(H, K, 3)}),
        OpCase("nearest_centroid", "", select.nearest_centroid, {"x": q, "centroids": r.normal(H, 5, K)}),
        OpCase("latest_of_bucket", "", lambda **t: select.latest_of_bucket(**t, count=2), numbers),
        OpCase("page_bound", "", select.page_bound, pages),
        OpCase("best_blocks", "", lambda q, k: select.best_blocks(q, k, 3, 1), {"q": q, "k": k}),
        OpCase("vertical_slash", "", lambda q, k: select.vertical_slash(q, k, 2, 2, 4), {"q": q, "k": k}),
    ]
