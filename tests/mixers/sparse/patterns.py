"""Attention under a rule (i, j) -> visible, by hand, to compare mixers of fixed patterns with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Mixer

T = 19


def heads(mixer: Mixer, x: Tensor) -> list[Tensor]:
    """Queries, keys and values (B, H, T, K)."""
    return [
        part(x).unflatten(2, (mixer.num_heads, -1)).transpose(1, 2) for part in (mixer.q, mixer.k, mixer.v)
    ]


def dense(mixer: Mixer, x: Tensor, seen: Tensor) -> Tensor:
    """The mixer's output where each head sees the pairs (T, T) or (H, T, T) of ``seen``."""
    q, k, v = heads(mixer, x)
    scores = (q @ k.mT / q.shape[3] ** 0.5).masked_fill(~seen, -torch.inf)
    return mixer.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def pairs(rule: Any) -> Tensor:
    return torch.tensor([[rule(i, j) for j in range(T)] for i in range(T)])
