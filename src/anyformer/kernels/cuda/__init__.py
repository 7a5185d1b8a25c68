"""Triton kernels behind the ops, for CUDA; PyTorch's builds for CUDA bring Triton.

Ops ask :func:`refuses` whether the kernels support their tensors. ``use_native(False)`` and ``ANYFORMER_NATIVE=0`` turn
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
"""Tokens per step of a program's scan."""
DTYPES = (torch.float32, torch.float64)


@functools.cache
def found() -> bool:
    """Return True if Triton is installed and not turned off."""
    return os.environ.get("ANYFORMER_NATIVE", "1") != "0" and importlib.util.find_spec("triton") is not None


def refuses(*tensors: Tensor | None) -> str | None:
    """Return why the kernels do not support these tensors, None if they do: on CUDA, all float32 or all float64."""
    given = [x for x in tensors if x is not None]
    if not all(x.is_cuda for x in given):
        return "the Triton kernels are for CUDA"
    if given[0].dtype not in DTYPES or any(x.dtype != given[0].dtype for x in given):
        return "the Triton kernels support float32 and float64, and tensors of one dtype only"
    if kernels.turned_off():
        return kernels.OFF
    return None if found() else "Triton is not installed, or ANYFORMER_NATIVE=0 turns it off"
