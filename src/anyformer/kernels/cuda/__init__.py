"""Triton kernels behind the ops, for CUDA; PyTorch's builds for CUDA bring Triton.

Ops ask :func:`ready` whether the kernels can take their tensors. ``use_native(False)`` and ``ANYFORMER_NATIVE=0`` turn
these off too.
"""

from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor

from anyformer import kernels

CHUNK = 32
"""Tokens that a program scans at once."""
DTYPES = (torch.float32, torch.float64)


@functools.cache
def found() -> bool:
    """Whether Triton is installed, and not turned off."""
    return os.environ.get("ANYFORMER_NATIVE", "1") != "0" and importlib.util.find_spec("triton") is not None


def ready(*tensors: Tensor | None) -> bool:
    """Whether the kernels can take these tensors: all on CUDA, and all of one type, float32 or float64."""
    given = [x for x in tensors if x is not None]
    same = all(x.is_cuda and x.dtype == given[0].dtype for x in given)
    return same and given[0].dtype in DTYPES and not kernels.turned_off() and found()
