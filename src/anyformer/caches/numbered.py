"""A cache indexed by token number, whichever call a token came in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def put(past: Tensor, new: Tensor, number: Tensor, size: int) -> Tensor:
    """Write tokens at their numbers. ``past`` stays valid.

    Args:
        past: (B, H, S, K) of earlier tokens.
        new: (B, H, T, K).
        number: (B, T) int64, of each new token, -1 = none.
        size: slots of the result, at least S and more than any number; empty ones are zero.

    Returns:
        (B, H, size, K).
    """
    past, new = _alike(past, new)
    at = torch.where(number < 0, size, number)[:, None, :, None].expand_as(new)
    return pad(past, (0, 0, 0, size + 1 - past.shape[2])).scatter(2, at, new)[:, :, :size]


def widen(low: Tensor, high: Tensor, new: Tensor, page: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Update the smallest and the largest value of each channel in each page by new tokens.

    Args:
        low, high: (B, H, P, K) so far, inf and -inf where a page has no token.
        new: (B, H, T, K).
        page: (B, T) int64, of each new token, -1 = none.
        size: pages of the result, at least P.

    Returns:
        both (B, H, size, K).
    """
    at = torch.where(page < 0, size, page)[:, None, :, None].expand_as(new)
    found = []
    for bound, how, fill in ((low, "amin", torch.inf), (high, "amax", -torch.inf)):
        bound, new = _alike(bound, new)
        wide = pad(bound, (0, 0, 0, size + 1 - bound.shape[2]), value=fill)
        found.append(wide.scatter_reduce(2, at, new, how)[:, :, :size])
    return found[0], found[1]


def _alike(past: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in one dtype: autocast may narrow new tokens."""
    return (past.to(new.dtype), new) if past.shape[2] == 0 else (past, new.to(past.dtype))
