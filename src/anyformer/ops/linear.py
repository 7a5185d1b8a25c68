"""A linear map of the last axis, y = W x + b.

On x86 CPUs PyTorch gives float32 products to MKL. oneDNN, which PyTorch holds as well, was twice as fast on the AMD
CPU that it was measured on (Zen 5). On an Intel one (Xeon with AMX) it took 0.8 to 3.5 times as long as MKL, the most
for the gradients of W and for small matrices: so it is taken on CPUs of other makers than Intel. A few rows, as
decoding has, go to the native kernel there, which reads W on all threads; on the Intel CPU MKL took 0.6 to 0.8 times
as long as it.
"""

from __future__ import annotations

import platform
from pathlib import Path as File
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import Path, primitive
from anyformer.ops._eager import plain, tracked
from anyformer.ops._layout import dense
from anyformer.precision import wide

FEW_ROWS = 4
"""Up to so many rows the native kernel is the fastest, but beside MKL on Intel's CPUs."""


def _takes_onednn() -> bool:
    """Whether PyTorch would choose MKL, and oneDNN is there and faster."""
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and hasattr(torch.ops.mkldnn, "_linear_pointwise") and "GenuineIntel" not in _maker()


def _maker() -> str:
    """The maker of this CPU among other words."""
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


def _path(device: str, dtype: torch.dtype) -> Path:
    if device != "cpu":
        return Path("PyTorch", "torch.nn.functional.linear")
    if _MKL_AT_HOME:
        return Path("PyTorch", "torch.nn.functional.linear: MKL on an Intel CPU")
    few = f"up to {FEW_ROWS} rows without gradient: {kernels.status().reason}"
    if dtype == torch.float32 and _HAS_ONEDNN:
        return Path("oneDNN", f"faster than MKL, which PyTorch would choose, but on CPUs of Intel; {few}")
    return Path("PyTorch", f"torch.nn.functional.linear; {few}")


@primitive("linear", definition=linear_definition, flops=linear_flops, path=_path)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the last axis of x by a matrix; a drop-in for :func:`torch.nn.functional.linear`.

    Args:
        x: (..., K).
        weight: (N, K).
        bias: (N,).

    Returns:
        (..., N).
    """
    if _MKL_AT_HOME or not plain(x, weight, bias):
        return F.linear(x, weight, bias)
    shape, (N, K) = x.shape, weight.shape
    fits = shape[-1] == K and N > 0 and x.numel() > 0 and (bias is None or bias.shape == (N,))
    if not fits or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    rows, grads = x.numel() // K, tracked(x, weight, bias)
    if rows <= FEW_ROWS and not grads:
        if not kernels.ready(x, weight, bias):
            return F.linear(x, weight, bias)
        y = x.new_empty((*shape[:-1], N))
        kernels.run("matvec", dense(x), dense(weight), dense(bias), y, rows, N, K)
        return y
    if not (_HAS_ONEDNN and x.is_cpu and x.dtype == weight.dtype == torch.float32):
        return F.linear(x, weight, bias)
    flat = x.reshape(rows, K)
    y = _Product.apply(flat, weight, bias) if grads else _onednn(flat, weight, bias)
    return y.reshape(*shape[:-1], N)


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()  # oneDNN is quick with a matrix and its transpose only
    b = b.resolve_neg()
    y: Tensor = torch.ops.mkldnn._linear_pointwise(dense(a), b, dense(bias), "none", [], "")
    return y


class _Product(torch.autograd.Function):
    """a (M, K) times the transpose of b (N, K), plus bias (N,); the gradients are such products again."""

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
