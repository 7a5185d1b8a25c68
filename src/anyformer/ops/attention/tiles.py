"""Tiles of queries and keys: the normalisers, dense attention on one tile, a loop over tiles, and their merging."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint

from anyformer.ops.attention.heads import nothing_seen
from anyformer.precision import no_autocast, wide

TILE_ELEMENTS = 2**21
"""Score elements held at once; longer inputs are processed in blocks, recomputed in the backward."""


Weigh = Callable[[Tensor, int], tuple[Tensor, Tensor | None]]
Score = Callable[[Tensor], Tensor]

# ---- normalisers --------------------------------------------------------------------------------------------
# Each maps scores, -inf where hidden, to (weights, divisor or None, log-sum-exp or None). The division is cheaper
# after the product with the values.

Normalized = tuple[Tensor, Tensor | None, Tensor | None]


def _softmax(scores: Tensor) -> Normalized:
    top = scores.detach().amax(-1, keepdim=True)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = (scores - top).exp_()
    total = weights.sum(-1, keepdim=True)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    lse = (total.log() + top).masked_fill(empty, -torch.inf)
    return weights, total, lse[..., 0]


def _sigmoid(scores: Tensor) -> Normalized:
    return scores.sigmoid(), None, None


def _laplace(scores: Tensor) -> Normalized:
    """Weights by the normal CDF of mean sqrt(1/2) and variance 1 / (4 pi), which touches relu(x)^2 at the mean."""
    return torch.special.ndtr((scores - math.sqrt(0.5)) * math.sqrt(4 * math.pi)), None, None


def _silu(scores: Tensor) -> Normalized:
    return silu(scores.masked_fill(scores == -torch.inf, 0.0)), None, None


def _softmax_one(scores: Tensor) -> Normalized:
    top = scores.detach().amax(-1, keepdim=True).clamp_min(0.0)
    weights = (scores - top).exp_()
    return weights, weights.sum(-1, keepdim=True) + (-top).exp(), None


NORMALIZERS: dict[str, Callable[[Tensor], Normalized]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "laplace": _laplace,
    "silu": _silu,
    "softmax_one": _softmax_one,
}


# ---- tiles ----------------------------------------------------------------------------------------------------


def distance(q_place: Tensor, k_place: Tensor) -> Tensor:
    """Return |q_place_i - k_place_j|, (B, H, T, S)."""
    return (q_place[..., :, None] - k_place[..., None, :]).abs()


def attend_tile(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor | None,
    scale: float,
    normalizer: str = "softmax",
    adjust: Callable[[Tensor], Tensor] | None = None,
    weigh: Callable[[Tensor], tuple[Tensor, Tensor | None]] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Attend densely from one tile of queries to one of keys; return (y, lse).

    ``adjust`` may change the scores (B, H, T, S), ``weigh`` the probabilities, as in :func:`attention`.
    """
    (B, H, T, K), (_, G, S, _), V = q.shape, k.shape, v.shape[3]
    if S == 0:
        return nothing_seen(q, k, v, True)
    dtype = wide(q.dtype)
    with no_autocast(q):
        grouped = (q.to(dtype) * scale).reshape(B, G, H // G * T, K)
        scores = (grouped @ k.to(dtype).transpose(2, 3)).reshape(B, H, T, S)
        if adjust is not None:
            scores = adjust(scores)
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        weights, total, lse = NORMALIZERS[normalizer](scores)
        more = None
        if weigh is not None:
            weights, more = weigh(weights if total is None else weights / total)
            total = None
        y = (weights.reshape(B, G, H // G * T, S) @ v.to(dtype)).reshape(B, H, T, V)
        y = y if total is None else y / total
        y = y if more is None else y + more
    return y.to(q.dtype), lse


def recomputed(function: Callable[..., Any], *args: Any) -> Any:
    """Return ``function(*args)`` under activation checkpointing: only its inputs are kept for the backward."""
    if not torch.is_grad_enabled():
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)


def by_query_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    visible: Tensor | None,
    bias: Tensor | None,
    places: tuple[Tensor, Tensor] | None,
    score: Score | None,
    scale: float,
    normalizer: str,
    weigh: Weigh | None,
) -> tuple[Tensor, Tensor | None]:
    """Return y and lse of all queries, computed in blocks of queries; arguments as in :func:`attention`."""
    (B, H, T, _), S = q.shape, k.shape[2]
    rows = max(1, min(T, TILE_ELEMENTS // (B * H * S)))

    def block(
        q: Tensor, k: Tensor, v: Tensor, terms: Tensor | None, start: int
    ) -> tuple[Tensor, Tensor | None]:
        stop, seen = start + q.shape[2], k.shape[2]
        sees = None if visible is None else _tile_of(visible, start, stop, seen)
        if causal:
            last = torch.arange(start, stop, device=q.device)[:, None] + (S - T)
            earlier = torch.arange(seen, device=q.device) <= last
            sees = earlier if sees is None else sees & earlier

        def adjust(scores: Tensor) -> Tensor:
            if terms is not None:
                scores = scores + _tile_of(terms, 0, stop, seen).to(scores.dtype)
            if places is not None:
                far = distance(places[0][:, :, start:stop], places[1][:, :, :seen])
                scores = scores - far.to(scores.dtype)
            return scores if score is None else score(scores)

        change = None if weigh is None else (lambda p: weigh(p, start))
        return attend_tile(q, k, v, sees, scale, normalizer, adjust, change)

    parts, starts = [], range(0, T, rows)
    # split at once: the gradient of each slice of its own would be as large as the whole
    biases = [bias] * len(starts) if bias is None or bias.shape[2] == 1 else bias.split(rows, 2)
    for start, queries, terms in zip(starts, q.split(rows, 2), biases, strict=True):
        seen = S - T + start + queries.shape[2] if causal else S
        tile = (queries, k[:, :, :seen], v[:, :, :seen], terms, start)
        parts.append(block(*tile) if rows >= T else recomputed(block, *tile))
    if len(parts) == 1:
        return parts[0]
    lses = [lse for _, lse in parts if lse is not None]
    return torch.cat([y for y, _ in parts], 2), torch.cat(lses, 2) if lses else None


def _tile_of(x: Tensor, start: int, stop: int, seen: int) -> Tensor:
    x = x if x.shape[2] == 1 else x[:, :, start:stop]
    return x if x.shape[3] == 1 else x[..., :seen]


def merge(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Merge attention over disjoint sets of keys into attention over their union.

    Associative and commutative; a part that saw nothing (lse = -inf) changes nothing.

    Args:
        parts: pairs (y (B, H, T, V), lse (B, H, T)), as :func:`attention` returns them.

    Returns:
        (y, lse) of the union, y in the dtype of the first part.

    Raises:
        ValueError: if ``parts`` is empty.
    """
    if not parts:
        raise ValueError("parts must hold at least one (y, lse), got none")
    if len(parts) == 1:
        return parts[0]
    lses = torch.stack([lse for _, lse in parts])
    top = lses.detach().amax(0)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = (lses - top).exp()
    total = weights.sum(0)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    share = weights / total
    y = share[0][..., None] * parts[0][0]
    for part, (other, _) in zip(share[1:], parts[1:], strict=True):
        y = y + part[..., None] * other
    return y.to(parts[0][0].dtype), (total.log() + top).masked_fill(empty, -torch.inf)
