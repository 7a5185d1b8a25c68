"""Memory layouts of the tensors that native kernels read and write.

Kernels get addresses. So their inputs go through :func:`dense` or :func:`rows`, which also resolve PyTorch's lazy
negation, and their outputs are allocated by :func:`empty_dense`, :func:`empty_rows` or :func:`empty_by_time`.
(``torch.empty_like`` would copy arbitrary strides: it is for dense tensors.)
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

MaybeTensor = TypeVar("MaybeTensor", bound=Tensor | None)


def dense(x: MaybeTensor) -> MaybeTensor:
    """Return x, contiguous."""
    if x is None or (x.is_contiguous() and not x.is_neg()):
        return x
    return x.contiguous().resolve_neg()  # type: ignore[return-value]


def rows(x: MaybeTensor) -> MaybeTensor:
    """Return x with a contiguous last axis; the other axes may have any strides, zero included."""
    if x is None or ((x.stride()[-1] == 1 or x.shape[-1] == 1) and not x.is_neg()):
        return x
    return x.contiguous().resolve_neg()  # type: ignore[return-value]


def empty_dense(x: Tensor) -> Tensor:
    """Allocate a contiguous tensor of x's shape and dtype."""
    return x.new_empty(x.shape)


def copy(x: Tensor) -> Tensor:
    """Return a contiguous copy of x, to be written into."""
    return x.clone(memory_format=torch.contiguous_format).resolve_neg()


def empty_rows(x: Tensor) -> Tensor:
    """Allocate a tensor of x's shape with a contiguous last axis, the others ordered in memory as in x.

    A reshape that is a view of x is then a view of it, too.
    """
    y = torch.empty_like(x)
    return y if y.stride()[-1] == 1 or y.shape[-1] == 1 else empty_dense(x)


def empty_by_time(x: Tensor, B: int, H: int, T: int, N: int, zeros: bool = False) -> Tensor:
    """Allocate (B, H, T, N) of x's dtype, laid out (B, T, H, N) in memory."""
    make = x.new_zeros if zeros else x.new_empty
    return make((B, T, H, N)).transpose(1, 2)
