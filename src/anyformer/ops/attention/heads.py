"""Checks of queries, keys and values that all attention ops share, and the result of queries that see no key."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.precision import wide


def check_heads(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raise ``ValueError`` unless q is (B, H, T, K), k (B, G, S, K) and v (B, G, S, V), with H a multiple of G."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dim() != 4:
            raise ValueError(
                f"{name} must have 4 axes (batch, heads, time, width), got shape {tuple(x.shape)}"
            )
    (B, H, _, K), G = q.shape, k.shape[1]
    if k.shape[0] != B or k.shape[3] != K:
        raise ValueError(f"k must have shape ({B}, heads, keys, {K}) to fit q, got {tuple(k.shape)}")
    if K == 0:
        raise ValueError(f"q must have a width of at least 1, got shape {tuple(q.shape)}")
    if v.shape[:3] != k.shape[:3] or v.shape[3] == 0:
        raise ValueError(f"v must have shape {(*k.shape[:3], 'width')} to fit k, got {tuple(v.shape)}")
    if G == 0 or H % G:
        raise ValueError(f"q must have a multiple of k's {G} heads, got {H}")


def check_places(q: Tensor, k: Tensor, places: tuple[Tensor, Tensor] | None) -> None:
    """Raise ``ValueError`` unless ``places`` is None or broadcasts to (B, H, T) and (B, H, S)."""
    if places is None:
        return
    B, H, T, _ = q.shape
    for whose, place, length in zip(("queries", "keys"), places, (T, k.shape[2]), strict=True):
        fits = place.dim() == 3 and all(a in (1, b) for a, b in zip(place.shape, (B, H, length), strict=True))
        if not fits or place.shape[2] != length or not place.dtype.is_floating_point:
            got = f"{tuple(place.shape)} {place.dtype}"
            raise ValueError(f"places of the {whose} must be floats of shape {(B, H, length)}, got {got}")


def score_scale(scale: float | None, K: int) -> float:
    """Return ``scale``, by default 1 / sqrt(K), or 1 where K is 0."""
    return max(K, 1) ** -0.5 if scale is None else scale


def nothing_seen(q: Tensor, k: Tensor, v: Tensor, return_lse: bool = False) -> Any:
    """Return zeros (B, H, T, V) that still depend on q, k and v for autograd, and log-sum-exps of -inf (B, H, T)."""
    k, v = (t[:, :, :0].to(q.dtype).repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    y = q @ k.mT @ v
    lse = torch.full(q.shape[:3], -torch.inf, dtype=wide(q.dtype), device=q.device)
    return (y, lse) if return_lse else y
