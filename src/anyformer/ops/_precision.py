"""How the recurrent ops keep their accuracy: wide accumulators, and no autocast inside."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of states and accumulators: at least float32."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Keep autocast from narrowing the matrix products inside an op."""
    return torch.autocast(x.device.type, enabled=False)


def exact(x: Tensor) -> Tensor:
    """x for sums that are later subtracted from each other: in float64 wherever the device has it."""
    return x if x.device.type == "mps" else x.double()
