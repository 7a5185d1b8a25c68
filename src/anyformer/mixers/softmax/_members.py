"""Sets in a prompt: tokens of different members of a set do not see each other."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.caches import Cache
from anyformer.contract import Inputs


def member_of(inputs: Inputs) -> Tensor:
    """Return the member of a set that each token belongs to, 0 = none: (B, 1, T, 1) int64."""
    part = inputs.call.side.get("part")
    part = torch.zeros_like(inputs.index) if part is None else part
    return part[:, None, :, None]


def among(seen: Tensor | None, keys: Cache, inputs: Inputs) -> Tensor | None:
    """Return the mask ``seen`` without the keys of other members of a set, where the call has sets."""
    if "part" not in keys:
        return seen
    mine, other = member_of(inputs), keys["part"].mT
    together = (mine == 0) | (other == 0) | (mine == other)
    return together if seen is None else together & seen
