"""Polynomials with learned coefficients."""

from __future__ import annotations

import torch
from torch import Tensor


def start(order: int) -> Tensor:
    """Return the initial coefficients: c_0 = 0, the others 1 / order."""
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    return torch.tensor([0.0] + [1 / order] * order)


def horner(x: Tensor, coefficients: Tensor) -> Tensor:
    """Return c_0 + c_1 x + c_2 x^2 + ..., with c along the first axis."""
    y = coefficients[-1].expand_as(x)
    for c in coefficients[:-1].flip(0):
        y = y * x + c
    return y
