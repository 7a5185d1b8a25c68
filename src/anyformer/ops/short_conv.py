"""A short causal depthwise convolution, with its bias and activation.

With few taps the cost is memory traffic: one pass over the tokens for each tap and for the activation. The native
kernel makes one pass forward and one backward, which recomputes the sums before the activation. PyTorch's form makes
one pass for each tap.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from anyformer import kernels
from anyformer.ops._base import primitive
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths
from anyformer.ops._memory import dense, empty_dense, rows
from anyformer.precision import common

ACTIVATIONS = (None, "silu")
TOKENS = 64  # of one task of the kernels


def short_conv_definition(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    past: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    """The sum of each token; see :func:`short_conv`."""
    x, weight, bias, past, dtype = _prepare(x, weight, bias, past, activation)
    W = weight.shape[1]
    joined = _joined(x, past, W)
    outputs = [(joined[:, t : t + W] * weight.mT).sum(1) for t in range(x.shape[1])]
    y = torch.stack(outputs, 1) if outputs else x * weight[:, -1]
    y = y if bias is None else y + bias
    return (y if activation is None else y * y.sigmoid()).to(dtype)


def short_conv_flops(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    past: Tensor | None = None,
    activation: str | None = None,
) -> int:
    """Return the FLOPs: two a tap, four for silu."""
    return x.numel() * (2 * weight.shape[1] + (bias is not None) + 4 * (activation is not None))


@primitive(
    "short_conv",
    definition=short_conv_definition,
    flops=short_conv_flops,
)
def short_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    past: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    """Compute y_t = f(bias + sum_i weight_i x_{t - (W - 1) + i}) for every channel; the last tap is the newest token's.

    Args:
        x: (B, T, D).
        weight: (D, W).
        bias: (D,).
        past: the inputs before x, (B, W - 1, D), oldest first; zeros if None.
        activation: f, ``"silu"`` or None.

    Returns:
        y (B, T, D) in the dtype of x. The sums are taken in at least float32.

    Raises:
        ValueError: if shapes don't fit, or for another activation.
    """
    x, weight, bias, past, dtype = _prepare(x, weight, bias, past, activation)
    return _conv(x, weight, bias, past, activation == "silu").to(dtype)


def _prepare(
    x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None, activation: str | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, torch.dtype]:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be 'silu' or None, got {activation!r}")
    if x.dim() != 3:
        raise ValueError(f"x must have shape (B, T, D), got {tuple(x.shape)}")
    B, _, D = x.shape
    if weight.dim() != 2 or weight.shape[0] != D or weight.shape[1] < 1:
        raise ValueError(f"weight must have shape ({D}, W), got {tuple(weight.shape)}")
    for name, value, shape in (("bias", bias, (D,)), ("past", past, (B, weight.shape[1] - 1, D))):
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    float_ = common(x, weight)
    bias, past = (None if value is None else value.to(float_) for value in (bias, past))
    return x.to(float_), weight.to(float_), bias, past, x.dtype


def _joined(x: Tensor, past: Tensor | None, W: int) -> Tensor:
    return pad(x, (0, 0, W - 1, 0)) if past is None else torch.cat((past, x), 1)


def _sums(x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None) -> Tensor:
    T, W = x.shape[1], weight.shape[1]
    joined = _joined(x, past, W)
    y = x * weight[:, -1]
    if bias is not None:
        y += bias
    for i in range(W - 1):
        y.addcmul_(joined[:, i : i + T], weight[:, i])
    return y


def _layout(
    x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None
) -> tuple[tuple[Tensor | None, ...], tuple[int, ...]]:
    """Return the kernels' inputs: x with contiguous rows, its first windows, taps and bias; and the table of sizes."""
    (B, T, D), W = x.shape, weight.shape[1]
    x = rows(x)
    head = dense(_joined(x[:, : W - 1], past, W))
    tensors = (x, head, dense(weight.mT), dense(bias))
    return tensors, (B, T, D, W, x.stride(0), x.stride(1), head.shape[1] * D)


def _native(x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None, silu_: bool) -> Tensor:
    y = x.new_empty(x.shape)
    inputs, sizes = _layout(x, weight, bias, past)
    kernels.run("short_conv", *inputs, y, *sizes, silu_, TOKENS)
    return y


def _in_pytorch(x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None, silu_: bool) -> Tensor:
    y = _sums(x, weight, bias, past)
    return silu(y, inplace=True) if silu_ else y


_PATHS = Paths(
    "short_conv",
    Path("native", "in C, one pass over the tokens", _native, lambda *args: kernels.refuses(*args[:4])),
    Path("taps", "one pass for each tap in PyTorch", _in_pytorch),
)


Gradients = tuple[Tensor, Tensor, "Tensor | None", "Tensor | None"]


def _backward(grads: list[Tensor], kept: list[Tensor], needs: list[bool], *given: Any) -> Gradients:
    """Return the gradients of x, weight, bias and past."""
    grad, (x, weight, bias, past, silu_) = grads[0], given
    if kernels.refuses(grad, x, weight, bias, past) is not None:
        return _taps_backward(grad, x, weight, bias, past, silu_)
    (B, _, D), W = x.shape, weight.shape[1]
    parts = B * -(-x.shape[1] // TOKENS)
    inputs, sizes = _layout(x, weight, bias, past)
    grad_x, grad_taps = empty_dense(x), x.new_empty(parts, W, D)
    grad_bias = None if bias is None else x.new_empty(parts, D)
    grad_past = None if past is None else x.new_zeros(past.shape)
    outputs = (grad_x, grad_past, grad_taps, grad_bias)
    kernels.run("short_conv_backward", dense(grad), *inputs, *outputs, *sizes, silu_, TOKENS)
    total = None if grad_bias is None else grad_bias.sum(0)
    return grad_x, grad_taps.sum(0).mT.contiguous(), total, grad_past


def _taps_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None, silu_: bool
) -> Gradients:
    T, W = x.shape[1], weight.shape[1]
    if silu_:
        sums = _sums(x, weight, bias, past)
        grad = torch.ops.aten.silu_backward(grad, sums)
    joined = _joined(x, past, W)
    behind = pad(grad, (0, 0, W - 1, W - 1))
    grad_joined = grad.new_zeros(joined.shape)
    for i in range(W):
        first = W - 1 - i
        grad_joined.addcmul_(behind[:, first : first + T + W - 1], weight[:, i])
    grad_weight = torch.stack([(grad * joined[:, i : i + T]).sum((0, 1)) for i in range(W)], 1)
    grad_bias = None if bias is None else grad.sum((0, 1))
    grad_past = None if past is None else grad_joined[:, : W - 1].clone()
    return grad_joined[:, W - 1 :].clone(), grad_weight, grad_bias, grad_past


def _formula(x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None, silu_: bool) -> Tensor:
    y = _sums(x, weight, bias, past)
    return silu(y) if silu_ else y


_conv = custom_op(
    _PATHS,
    "short_conv",
    outputs=lambda x, weight, bias, past, silu_: empty_dense(x),
    backward=_backward,
    formula=_formula,
)
