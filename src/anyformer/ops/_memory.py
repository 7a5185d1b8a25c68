"""How tensors lie in memory where the native kernels read and write them: decided here, for all of them.

A kernel is given addresses. So whatever it reads goes through :func:`dense` or :func:`rows`, which also turn what
PyTorch turns when it reads (a tensor may be stored with the other sign), and whatever it writes is new: of
:func:`like`, :func:`room` or :func:`room_by_time`. ``empty_like`` repeats strides: it is for what is dense.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

MaybeTensor = TypeVar("MaybeTensor", bound=Tensor | None)


def dense(x: MaybeTensor) -> MaybeTensor:
    """x in one piece, as it is indexed."""
    if x is None or (x.is_contiguous() and not x.is_neg()):
        return x
    return x.contiguous().resolve_neg()  # type: ignore[return-value]


def rows(x: MaybeTensor) -> MaybeTensor:
    """x, its last axis in one piece; the other axes have any strides, zero too."""
    if x is None or ((x.stride()[-1] == 1 or x.shape[-1] == 1) and not x.is_neg()):
        return x
    return x.contiguous().resolve_neg()  # type: ignore[return-value]


def like(x: Tensor) -> Tensor:
    """A new tensor of x's shape and type, in one piece."""
    return x.new_empty(x.shape)


def copy(x: Tensor) -> Tensor:
    """x in one piece, to be written into."""
    return x.clone(memory_format=torch.contiguous_format).resolve_neg()


def room(x: Tensor) -> Tensor:
    """A new tensor of x's shape, its last axis in one piece; the others in the order that x has them in, so that what
    copies nothing for x copies nothing for it."""
    y = torch.empty_like(x)
    return y if y.stride()[-1] == 1 or y.shape[-1] == 1 else like(x)


def room_by_time(x: Tensor, B: int, H: int, T: int, N: int, zeros: bool = False) -> Tensor:
    """A new (B, H, T, N) of x's type, the heads of a token side by side."""
    make = x.new_zeros if zeros else x.new_empty
    return make((B, T, H, N)).transpose(1, 2)
