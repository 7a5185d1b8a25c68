"""Accuracy inside narrow types: wide accumulators, sums in float64, and no autocast inside an op."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

NARROW = frozenset((torch.float16, torch.bfloat16))


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of states and accumulators: at least float32."""
    return torch.float32 if dtype in NARROW else dtype


def common(*tensors: Tensor) -> torch.dtype:
    """Return the dtype to compute in with all of these: their promoted type, and at least float32."""
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        if x.dtype is not dtype:
            dtype = torch.promote_types(dtype, x.dtype)
    return torch.float32 if dtype in NARROW else dtype


def widen(x: Tensor) -> Tensor:
    """Convert x to at least float32; float64 stays."""
    return x.to(wide(x.dtype))


def roomy(x: Tensor) -> Tensor:
    """Convert float16 x to float32, as products overflow float16; other dtypes, and x under autocast, stay."""
    return x.float() if x.dtype == torch.float16 and not torch.is_autocast_enabled(x.device.type) else x


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Disable autocast for the matrix products inside an op."""
    return torch.autocast(x.device.type, enabled=False)


FORGETS = -1000.0
"""A log decay whose exponential is zero in every type."""


def log_decays(d: Tensor) -> Tensor:
    """Clamp log decays at ``FORGETS``, for sums that are subtracted later: minus infinity would give NaN."""
    return exact(d).clamp_min(FORGETS)


def exact(x: Tensor) -> Tensor:
    """Convert x to float64, where the device has it, for sums that are subtracted later."""
    return x if x.device.type == "mps" else x.double()
