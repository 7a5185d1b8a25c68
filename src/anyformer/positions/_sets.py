"""Positions and side inputs for a prompt that contains a set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def set_prompt(prefix: int, members: Sequence[int], suffix: int) -> tuple[Tensor, Tensor]:
    """Return positions that make a model invariant to the order of a set's members (McIlroy-Young 2024, section 3).

    All members begin at the same position, and the suffix begins after the longest one; tokens of different members do
    not see each other. Pass the results as ``positions=`` and as the side input ``part`` of attention:

    >>> positions, part = set_prompt(3, [4, 2, 2], 5)
    >>> model(x, positions=positions.expand(B, -1), call=Call(side={"part": part.expand(B, -1)}))

    Args:
        prefix, suffix: tokens before and after the set.
        members: tokens of each member.

    Returns:
        positions (1, T) float and part (1, T) int64, 0 outside the set and n in its n-th member.

    Raises:
        ValueError: for negative lengths.
    """
    if min([prefix, suffix, *members], default=0) < 0:
        raise ValueError(f"lengths must not be negative, got {prefix}, {list(members)} and {suffix}")
    ranges = [(0, prefix), *((prefix, n) for n in members), (prefix + max(members, default=0), suffix)]
    number = torch.cat([torch.arange(start, start + n) for start, n in ranges])
    parts = torch.arange(1, len(members) + 1).repeat_interleave(torch.tensor(members, dtype=torch.int64))
    part = torch.cat([torch.zeros(prefix, dtype=torch.int64), parts, torch.zeros(suffix, dtype=torch.int64)])
    return number[None].to(torch.get_default_dtype()), part[None]
