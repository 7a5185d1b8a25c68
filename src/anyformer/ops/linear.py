"""A linear map of the last axis, y = W x + b.

On x86 CPUs PyTorch runs float32 products on MKL. oneDNN, which PyTorch also ships, was twice as fast on an AMD CPU
(Zen 5). On an Intel CPU (Xeon with AMX) it took 0.8 to 3.5 times as long as MKL, the most for the gradients of W and
for small matrices. So oneDNN is used on CPUs of other makers than Intel, and a few rows, as in decoding, go to the
native kernel there, which reads W on all threads (on the Intel CPU MKL took 0.6 to 0.8 times as long).
"""

from __future__ import annotations

import platform
from pathlib import Path as File
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import primitive
from anyformer.ops._gate import Path, Paths, needs_grad, refuses_outside_autograd, refuses_raw_access
from anyformer.ops._memory import dense
from anyformer.precision import wide

FEW_ROWS = 4
"""Rows up to which the native kernel is the fastest, except on Intel's CPUs."""


def _takes_onednn() -> bool:
    """Return True if PyTorch would choose MKL, and oneDNN is there and faster."""
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and hasattr(torch.ops.mkldnn, "_linear_pointwise") and "GenuineIntel" not in _maker()


def _maker() -> str:
    """Return a text that names the maker of this CPU."""
    info = File("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace") if info.exists() else platform.processor()


_HAS_ONEDNN = _takes_onednn()
_MKL_AT_HOME = torch.backends.mkl.is_available() and "GenuineIntel" in _maker()


def linear_definition(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The formula; see :func:`linear`."""
    dtype = wide(x.dtype)
    y = torch.einsum("...k,nk->...n", x.to(dtype), weight.to(dtype))
    return (y if bias is None else y + bias.to(dtype)).to(x.dtype)


def linear_flops(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> int:
    """A multiplication and an addition for each weight and row."""
    return 2 * x.numel() * weight.shape[0]


@primitive("linear", definition=linear_definition, flops=linear_flops)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the last axis of x by a matrix; a drop-in for :func:`torch.nn.functional.linear`.

    Args:
        x: (..., K).
        weight: (N, K).
        bias: (N,).

    Returns:
        (..., N).
    """
    y: Tensor = _PATHS(x, weight, bias)
    return y


_AT_HOME = "on Intel's CPUs PyTorch's MKL is faster"
_UNFIT = "shapes do not match, or are empty"
_AUTOCAST = "autocast chooses the dtype"
_MANY = f"for up to {FEW_ROWS} rows without a gradient"


def _refuses_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    if _MKL_AT_HOME:
        return _AT_HOME
    if x.numel() > FEW_ROWS * weight.shape[1] or needs_grad(x, weight, bias):
        return _MANY
    N, K = weight.shape
    if x.shape[-1] != K or N == 0 or (bias is not None and bias.shape != (N,)):
        return _UNFIT
    return _AUTOCAST if torch.is_autocast_enabled("cpu") else refuses_outside_autograd(x, weight, bias)


def _refuses_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    if _MKL_AT_HOME or not _HAS_ONEDNN:
        return _AT_HOME if _MKL_AT_HOME else "this PyTorch has no oneDNN beside MKL"
    if not (x.is_cpu and x.dtype == weight.dtype == torch.float32):
        return "for float32 on CPUs only"
    N, K = weight.shape
    if x.shape[-1] != K or N == 0 or (bias is not None and bias.shape != (N,)) or x.numel() == 0:
        return _UNFIT
    if torch.is_autocast_enabled("cpu"):
        return _AUTOCAST
    if x.numel() <= FEW_ROWS * weight.shape[1] and not needs_grad(x, weight, bias):
        return "a few rows are as fast without it"
    return refuses_raw_access(x, weight, bias)


def _few_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    N, K = weight.shape
    y = x.new_empty((*x.shape[:-1], N))
    kernels.run(
        "matvec", dense(x), dense(weight), bias if bias is None else dense(bias), y, x.numel() // K, N, K
    )
    return y


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    flat = x.reshape(-1, x.shape[-1])
    product = _Product.apply if needs_grad(x, weight, bias) else _onednn
    y: Tensor = product(flat, weight, bias)
    return y.reshape(*x.shape[:-1], weight.shape[0])


_PATHS = Paths(
    "linear",
    Path("native", "in C, a few rows, the weights read on all threads", _few_rows, _refuses_rows),
    Path("oneDNN", "faster than MKL, which PyTorch would choose", _by_onednn, _refuses_onednn),
    Path("PyTorch", "torch.nn.functional.linear", F.linear),
)


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()  # oneDNN is fast only with a matrix and its transpose
    b = b.resolve_neg()
    y: Tensor = torch.ops.mkldnn._linear_pointwise(dense(a), b, dense(bias), "none", [], "")
    return y


class _Product(torch.autograd.Function):
    """Product of a (M, K) and b^T, b (N, K), plus bias (N,); the gradients are products of the same form."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        return _onednn(a, b, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        wants_a, wants_b, wants_bias = ctx.needs_input_grad
        return (
            _Product.apply(grad, b.t(), None) if wants_a else None,
            _Product.apply(grad.t(), a.t(), None) if wants_b else None,
            grad.sum(0) if wants_bias else None,
        )
