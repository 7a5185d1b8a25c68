"""Faults of ops, functions of x (B, T, K)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.laws.faults import breaks_op
from anyformer.ops import _base


def in_definition() -> bool:
    return bool(_base._definition_depth)


@breaks_op("definition", "fast form")
def away_by_a_thousandth(x: Tensor) -> Tensor:
    return x * (1.0 if in_definition() else 1.001)


@breaks_op("layouts", "x transposed")
def read_as_if_dense(x: Tensor) -> Tensor:
    """Doubles, reading storage from x's first element on, whatever its strides."""
    return 2 * torch.as_strided(x, x.shape, x.new_empty(x.shape, device="meta").stride())


class _GradientAsIfDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return read_as_if_dense(grad)


@breaks_op("layouts", "gradients transposed")
def gradient_as_if_dense(x: Tensor) -> Tensor:
    return _GradientAsIfDense.apply(x)


@breaks_op("layouts", "x negated")
def stored_sign(x: Tensor) -> Tensor:
    """Doubles what is stored, not what is read."""
    return 2 * (torch._neg_view(x) if x.is_neg() else x)


@breaks_op("empties", "B = 0: whether there is a gradient")
def no_gradient_of_nothing(x: Tensor) -> Tensor:
    y = x.sum(-1)
    return y if x.numel() or in_definition() else y.detach()


@breaks_op("forward mode", "torch.func.jvp")
def half_the_tangent(x: Tensor) -> Tensor:
    """The right gradient, and the tangent of one of two factors only, as an op that detaches gives it."""
    return x * (x.detach() if torch.autograd.forward_ad._current_level >= 0 else x)


class _Once(torch.autograd.Function):
    """x^3, whose gradient forgets that it depends on x."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 3 * ctx.saved_tensors[0].detach() ** 2


@breaks_op("second order", "twice: x")
def differentiable_once(x: Tensor) -> Tensor:
    return _Once.apply(x) if not in_definition() else x**3


@breaks_op("vmap", "vmap")
def first_sample(x: Tensor) -> Tensor:
    """What a fast form does that takes ``vmap`` for one call: the first of all samples."""
    batched = torch._C._functorch.is_batchedtensor(x)
    return torch._C._functorch.get_unwrapped(x)[0] * 2 if batched else x * 2


@breaks_op("not finite", "nan in x, in output 0, is hidden")
def hides_nan(x: Tensor) -> Tensor:
    return x**3 if in_definition() else x.nan_to_num() ** 3


@breaks_op("not finite", "nan in x, in output 0, spreads")
def spreads_everywhere(x: Tensor) -> Tensor:
    return x**3 if in_definition() else x**3 + 0 * x.sum()


@breaks_op("not finite", "nan in x, in output 0, spreads")
def spreads_to_one(x: Tensor) -> Tensor:
    return x**3 if in_definition() else x**3 + 0 * x.flip(1)


class _SharedGradient(torch.autograd.Function):
    """x^3, in whose backward one sample's buffer is another's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x = ctx.saved_tensors[0]
        return grad * 3 * x**2 + 0 * x.sum()


@breaks_op("not finite", "nan in x spreads to another sample of the gradient of x")
def shares_its_gradient(x: Tensor) -> Tensor:
    return x**3 if in_definition() else _SharedGradient.apply(x)
