"""What is kept of the past by mixers that look at single tokens again.

A cache is a dict of tensors whose time axis is 2, e.g. keys (B, G, S, K). The entry ``slot`` (B, 1, S, 1) is the
token's index + 1, and 0 where nothing is stored, so that zeros are an empty cache.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Inputs

Cache = dict[str, Tensor]


def slots(inputs: Inputs) -> Tensor:
    """(B, 1, T, 1) int64: index + 1 of the tokens of this call, 0 where masked."""
    return inputs.zero(inputs.index + 1)[:, None, :, None]


def append(past: Cache, new: Cache, ragged: bool, limit: int | None = None) -> tuple[Cache, Cache]:
    """Put new entries behind the past ones.

    Args:
        past, new: caches with the same names; ``new["slot"]`` may hold zeros.
        ragged: whether samples may advance by different amounts in this call (a mask was given).
        limit: the number of latest entries to keep of each sample, ``None`` = all.

    Returns:
        what this call's queries may look at (past and new), and what to keep.
    """
    both = {name: torch.cat([past[name], new[name]], 2) for name in past}
    size = both["slot"].shape[2]
    if ragged:  # empty slots go first, so that the latest real entries are the last
        stored = both["slot"][:, 0, :, 0] > 0
        order = stored.to(torch.uint8).argsort(dim=1, stable=True)
        both = {name: _take(t, order) for name, t in both.items()}
        longest = int(stored.sum(1).max()) if stored.numel() else 0
        limit = longest if limit is None else min(limit, longest)
    if limit is None or size <= limit:
        return both, both
    return both, {name: t[:, :, size - limit :] for name, t in both.items()}


def visible(query_slot: Tensor, key_slot: Tensor, window: int | None = None) -> Tensor:
    """(B, 1, T, S) bool: a query sees stored keys up to itself, the last ``window`` of them."""
    age = query_slot - key_slot.transpose(2, 3)
    seen = (age >= 0) & (key_slot > 0).transpose(2, 3)
    return seen if window is None else seen & (age < window)


def _take(t: Tensor, order: Tensor) -> Tensor:
    index = order[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3])
    return t.gather(2, index)
