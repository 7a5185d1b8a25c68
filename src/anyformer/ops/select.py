"""Content-based choices of the keys that a query sees, as tables for the ops that attend to few keys.

Slots (B, H, T, N) list keys of each query for :func:`~anyformer.ops.gathered_attention.gathered_attention`, -1 = none;
buckets (B, H, T) are for :func:`~anyformer.ops.bucket_attention.bucket_attention`. Choices have no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops.attention.heads import score_scale
from anyformer.ops.attention.tiles import TILE_ELEMENTS
from anyformer.ops.bucket_attention import key_spans


@torch.no_grad()
def best_keys(scores: Tensor, count: int, visible: Tensor | None = None) -> Tensor:
    """Return the ``count`` keys of the highest scores.

    Args:
        scores: (B, H, T, S).
        visible: bool, broadcastable to scores: keys that may be chosen.

    Returns:
        slots (B, H, T, min(count, S)), best first, -1 past the visible keys.
    """
    if visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    best, slots = scores.topk(min(count, scores.shape[-1]), -1)
    return slots.masked_fill(best == -torch.inf, -1)


@torch.no_grad()
def nearest_keys(
    q: Tensor, k: Tensor, count: int, *, causal: bool = False, visible: Tensor | None = None
) -> Tensor:
    """Return the ``count`` keys of largest inner product with each query, by brute force in blocks of queries.

    Args:
        q: (B, H, T, K), k: (B, G, S, K), H a multiple of G.
        causal: the last query is the last key, and no later key is chosen.
        visible: bool, broadcastable to (B, H, T, S): keys that may be chosen.

    Returns:
        slots (B, H, T, min(count, S)), best first, -1 past the visible keys.
    """
    (B, H, T, _), (G, S) = q.shape, k.shape[1:3]
    keys = k.repeat_interleave(H // G, 1).mT
    rows = max(1, TILE_ELEMENTS // max(1, B * H * S))
    found = [torch.zeros(B, H, 0, min(count, S), dtype=torch.int64, device=q.device)]
    for start in range(0, T, rows):
        block = q[:, :, start : start + rows]
        seen = None if visible is None else visible.expand(B, -1, T, S)[:, :, start : start + rows]
        if causal:
            last = torch.arange(start, start + block.shape[2], device=q.device)[:, None] + (S - T)
            earlier = torch.arange(S, device=q.device) <= last
            seen = earlier if seen is None else seen & earlier
        found.append(best_keys(block @ keys, count, seen))
    return torch.cat(found, 2)


def lift(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Map queries and keys to unit vectors of one more channel, whose distance falls as the inner product grows.

    q' = (q / |q|, 0), k' = (k / c, sqrt(1 - |k|^2 / c^2)) with c the largest |k| (Neyshabur 2015; Mao 2024, eq. 6):
    |q' - k'|^2 = 2 - 2 q . k / (c |q|), so that the nearest neighbours are the keys of the highest scores.

    Args:
        q: (..., T, K), k: (..., S, K).

    Returns:
        q' (..., T, K + 1), k' (..., S, K + 1).
    """
    size = k.norm(dim=-1, keepdim=True)
    largest = pad(size, (0, 0, 0, 1)).amax(-2, keepdim=True).clamp_min(torch.finfo(k.dtype).tiny)
    k = torch.cat([k / largest, (1 - (size / largest) ** 2).clamp_min(0).sqrt()], -1)
    q = q / q.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(q.dtype).tiny)
    return torch.cat([q, torch.zeros_like(q[..., :1])], -1), k


@torch.no_grad()
def hash_buckets(x: Tensor, directions: Tensor) -> Tensor:
    """Return angular hashes: the index of the nearest of the directions and their opposites (Andoni 2015; Kitaev 2020).

    Args:
        x: (B, H, T, K).
        directions: (H, K, n), drawn at random once.

    Returns:
        (B, H, T) int64 from 0 to 2 n - 1.
    """
    near = x @ directions.to(x.dtype)
    return torch.cat([near, -near], -1).argmax(-1)


@torch.no_grad()
def nearest_centroid(x: Tensor, centroids: Tensor) -> Tensor:
    """Return the index of the centroid (H, N, K) of largest product with each x (B, H, T, K): (B, H, T) int64."""
    return (x @ centroids.to(x.dtype).mT).argmax(-1)


@torch.no_grad()
def latest_of_bucket(
    q_bucket: Tensor, k_bucket: Tensor, count: int, *, q_index: Tensor, k_index: Tensor
) -> Tensor:
    """Return the ``count`` latest keys of a query's bucket, none later than the query.

    Args:
        q_bucket, q_index: (B, H, T) int64; k_bucket, k_index: (B, H, S), bucket -1 = none.

    Returns:
        slots (B, H, T, count), latest first, -1 past the first.
    """
    found = key_spans(q_bucket, k_bucket, q_index=q_index, k_index=k_index, causal=True)
    place = found.stop[..., None] - 1 - torch.arange(count, device=q_bucket.device)
    there = place >= found.start[..., None]
    slots = found.order.gather(-1, place.clamp_min(0).flatten(2)).reshape(place.shape)
    return slots.masked_fill(~there, -1)


def page_bound(q: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Bound q . k for the keys of a page from above: sum_c max(q_c low_c, q_c high_c) (Tang 2024, Quest).

    Args:
        q: (B, H, T, K).
        low, high: (B, H, P, K), the smallest and the largest value of each channel in each page.

    Returns:
        (B, H, T, P), at least as large as the product of q with any key of the page.
    """
    return q.clamp_min(0) @ high.mT + q.clamp_max(0) @ low.mT


@torch.no_grad()
def best_blocks(q: Tensor, k: Tensor, size: int, count: int) -> Tensor:
    """Return for each block of ``size`` queries its own keys and those of the ``count`` best earlier blocks, by means.

    Args:
        q, k: (B, H, T, K), the same tokens.

    Returns:
        slots (B, H, T, (count + 1) * size), keys up to the query.
    """
    T = q.shape[2]
    tokens = torch.arange(T, device=q.device)
    number = tokens.div(size, rounding_mode="floor")
    n = -(-T // size)
    member = (number == torch.arange(n, device=q.device)[:, None]).to(q.dtype)
    member = member / member.sum(1, keepdim=True)
    earlier = torch.ones(n, n, dtype=torch.bool, device=q.device).tril(-1)
    blocks = best_keys((member @ q) @ (member @ k).mT, count, earlier)
    blocks = torch.cat([torch.arange(n, device=q.device).expand(*q.shape[:2], n)[..., None], blocks], -1)
    slots = blocks[..., None] * size + torch.arange(size, device=q.device)
    slots = slots.masked_fill(blocks[..., None] < 0, -1).flatten(3)[:, :, number]
    return slots.masked_fill(slots > tokens[:, None], -1)


@torch.no_grad()
def vertical_slash(q: Tensor, k: Tensor, verticals: int, slashes: int, last: int) -> Tensor:
    """Return the vertical-slash pattern of MInference (Jiang 2024): keys that all queries see, and distances.

    Both are chosen by the attention weights of the ``last`` queries.

    Args:
        q, k: (B, H, T, K), the same tokens.
        verticals: number of keys of the largest weight. slashes: number of distances of the largest weight, 0 included.

    Returns:
        slots (B, H, T, verticals + slashes), keys up to the query, each once.
    """
    B, H, T, K = q.shape
    if T == 0:
        return torch.zeros(B, H, 0, 0, dtype=torch.int64, device=q.device)
    last = min(last, T)
    place = torch.arange(T, device=q.device)
    age = place[T - last :, None] - place
    weight = (q[:, :, T - last :] @ k.mT * score_scale(None, K)).masked_fill(age < 0, -torch.inf).softmax(-1)
    columns = best_keys(weight.sum(2), verticals)
    by_age = weight.new_zeros(B, H, T).scatter_add(
        2, age.clamp_min(0).flatten().expand(B, H, -1), weight.masked_fill(age < 0, 0.0).flatten(2)
    )
    by_age[..., 0] = torch.inf
    ages = best_keys(by_age, slashes)
    chosen = torch.zeros(B, H, T, dtype=torch.bool, device=q.device).scatter(2, columns, True)
    slash = place[:, None] - ages[:, :, None]
    twice = chosen.gather(2, slash.clamp_min(0).flatten(2)).unflatten(2, (T, -1))
    slash = slash.masked_fill(twice | (slash < 0), -1)
    vertical = columns[:, :, None].expand(-1, -1, T, -1)
    return torch.cat([vertical.masked_fill(vertical > place[:, None], -1), slash], -1)
