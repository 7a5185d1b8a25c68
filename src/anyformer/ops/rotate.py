"""Rotation of pairs of channels by an angle, as in rotary positions (Su 2021, eq. 34)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import primitive
from anyformer.ops._gate import Path, Paths, needs_grad, refuses_outside_autograd
from anyformer.ops._memory import dense, empty_rows, rows


def rotate_definition(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The formula; see :func:`rotate`."""
    low, high = x.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


@primitive(
    "rotate",
    definition=rotate_definition,
    flops=lambda *_, **__: 0,  # FLOPs of elementwise ops are not counted, as in PyTorch's counter
)
def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channels (i, i + K/2) of every token by the token's angle i.

    Args:
        x: (B, H, T, K), K even.
        cos, sin: of the angles, (B, T, K/2), or (1, T, K/2) where all samples share them; dtype of x.

    Returns:
        (B, H, T, K).

    Raises:
        ValueError: if shapes don't fit.
    """
    (B, _, T, K), N = x.shape, cos.shape[0]
    if cos.shape != (N, T, K // 2) or sin.shape != cos.shape or N not in (1, B) or K % 2:
        shapes = f"{tuple(cos.shape)} and {tuple(sin.shape)} for x {tuple(x.shape)}"
        raise ValueError(
            f"cos and sin must have shape (1, {T}, {K // 2}) or ({B}, {T}, {K // 2}), got {shapes}"
        )
    y: Tensor = _PATHS(x, cos, sin)
    return y


def _refuses(x: Tensor, cos: Tensor, sin: Tensor) -> str | None:
    if needs_grad(cos, sin):
        return "the angles need a gradient"
    return refuses_outside_autograd(x, cos, sin)


def _native(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    y: Tensor = _Rotate.apply(x, cos, sin, 1.0) if needs_grad(x) else _turn(x, cos, sin, 1.0)
    return y


_PATHS = Paths(
    "rotate",
    Path("native", "in C, one pass", _native, _refuses),
    Path("PyTorch", "products of halves", rotate_definition),
)


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    x = rows(x)
    y = empty_rows(x)
    (B, H, T, K), shared = x.shape, cos.shape[0] == 1
    (of_b, of_h, of_t, _), (to_b, to_h, to_t, _) = x.stride(), y.stride()
    strides = (of_b, of_t, of_h, to_b, to_t, to_h, 0 if shared else T * K // 2)
    kernels.run("rotate", x, dense(cos), dense(sin), y, B, T, H, K // 2, *strides, sign)
    return y


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
        ctx.sign = sign
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, sign)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Rotate.apply(grad, *ctx.saved_tensors, -ctx.sign), None, None, None
