"""Root-mean-square normalisation of the last axis (Zhang 2019, eq. 4)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import primitive
from anyformer.ops._custom import gradients_again
from anyformer.ops._gate import Path, Paths, needs_grad, refuses_outside_autograd
from anyformer.ops._memory import dense
from anyformer.precision import wide

PARTS = 16
"""Groups of rows whose parts of the weight's gradient are summed at the end, whatever the number of threads."""


def rms_norm_definition(x: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """The formula; see :func:`rms_norm`."""
    exact = x.to(wide(x.dtype))
    y = exact / (exact.square().mean(-1, keepdim=True) + eps).sqrt()
    return (y if weight is None else y * weight).to(x.dtype)


@primitive(
    "rms_norm",
    definition=rms_norm_definition,
    flops=lambda *_, **__: 0,  # FLOPs of elementwise ops are not counted, as in PyTorch's counter
)
def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last axis.

    Args:
        x: (..., N).
        weight: (N,).

    Returns:
        (..., N), dtype of x.
    """
    y: Tensor = _PATHS(x, weight, eps)
    return y


def _refuses(x: Tensor, weight: Tensor | None, eps: float) -> str | None:
    if weight is not None and weight.shape != x.shape[-1:]:
        return "weight and x differ in width"
    return refuses_outside_autograd(x, weight)


def _native(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    y: Tensor = _RmsNorm.apply(x, weight, eps)[0] if needs_grad(x, weight) else _forward(x, weight, None, eps)
    return y


def _in_pytorch(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    if weight is not None and torch.promote_types(x.dtype, weight.dtype) == x.dtype:
        weight = weight.to(x.dtype)
    return F.rms_norm(x, x.shape[-1:], weight, eps)


_PATHS = Paths(
    "rms_norm",
    Path("native", "in C, one pass", _native, _refuses),
    Path("PyTorch", "torch.nn.functional.rms_norm", _in_pytorch),
)


def _forward(x: Tensor, weight: Tensor | None, scale: Tensor | None, eps: float) -> Tensor:
    """Return y; write each row's factor 1 / sqrt(mean(x^2) + eps) into ``scale``, for the backward."""
    x = dense(x)
    N, y = x.shape[-1], torch.empty_like(x)
    kernels.run("rms_norm", x, dense(weight), y, scale, x.numel() // N, N, float(eps))
    return y


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
        scale = x.new_empty(x.shape[:-1])
        y = _forward(x, weight, scale, eps)
        ctx.eps = eps
        ctx.mark_non_differentiable(scale)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, scale)
        return y, scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = gradients_again(
                lambda x, weight: rms_norm_definition(x, weight, ctx.eps),
                (x, weight),
                ctx.needs_input_grad[:2],
                grad,
            )
            return (*again, None)
        N = x.shape[-1]
        x = dense(x)
        grad_x, shares = torch.empty_like(x), None if weight is None else x.new_empty(PARTS, N)
        known = (x, dense(weight), dense(scale), dense(grad))
        kernels.run("rms_norm_backward", *known, grad_x, shares, x.numel() // N, N, PARTS)
        return grad_x, None if shares is None else shares.sum(0), None
