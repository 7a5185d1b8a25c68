"""Accuracy inside narrow types: wide accumulators, sums in float64, and no autocast inside an op."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

NARROW = frozenset((torch.float16, torch.bfloat16))


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of states and accumulators: at least float32."""
    return torch.float32 if dtype in NARROW else dtype


def common(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in with all of these: what PyTorch promotes them to, and at least float32."""
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        if x.dtype is not dtype:
            dtype = torch.promote_types(dtype, x.dtype)
    return torch.float32 if dtype in NARROW else dtype


def widen(x: Tensor) -> Tensor:
    """x in at least float32, in float64 where it is."""
    return x.to(wide(x.dtype))


def roomy(x: Tensor) -> Tensor:
    """x in float32 where it is in float16, which products of two large numbers leave; in its own dtype otherwise, and
    under autocast, whose products are meant to be narrow."""
    return x.float() if x.dtype == torch.float16 and not torch.is_autocast_enabled(x.device.type) else x


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Keep autocast from narrowing the matrix products inside an op."""
    return torch.autocast(x.device.type, enabled=False)


FORGETS = -1000.0
"""A log decay whose exponential is zero in every type."""


def log_decays(d: Tensor) -> Tensor:
    """Log decays for sums that are later subtracted from each other, where minus infinity would leave NaN."""
    return exact(d).clamp_min(FORGETS)


def exact(x: Tensor) -> Tensor:
    """x for sums that are later subtracted from each other: in float64 wherever the device has it."""
    return x if x.device.type == "mps" else x.double()
