"""Faults under PyTorch's transforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks
from anyformer.ops import _base


@breaks("compilation")
class ReadsANumber(Sound):
    """Reads a tensor back to Python, which no graph can hold."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) * (1.0 if float(x.detach().abs().sum()) >= 0 else 2.0)


class _UnpackedTwice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        if ctx.saved_tensors[0].dtype == torch.float64:
            return 2 * ctx.saved_tensors[0] * grad
        return 2 * ctx.saved_tensors[0] * grad


@breaks("checkpointing")
class UnpacksTwice(Sound):
    """Reads its saved tensors twice, which a checkpoint allows once."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y: Tensor = _UnpackedTwice.apply(x)
        return super()._forward(x, inputs) + y


@breaks("checkpointing")
class DrawsFromNowhere(Sound):
    """Draws in training from a generator that no checkpoint rewinds."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.generator = torch.Generator()

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = super()._forward(x, inputs)
        return y * torch.rand((), generator=self.generator) if self.training else y


class _ZeroTangent(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * grad

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(tangent)


@breaks("transforms")
class NoTangent(Sound):
    """Has a gradient, and a tangent of zero."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y: Tensor = _ZeroTangent.apply(x)
        return super()._forward(x, inputs) + y


class _ConstantGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0].detach() * grad


@breaks("transforms")
class GradientOnce(Sound):
    """Has a gradient that says it depends on nothing."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y: Tensor = x.square() if _base._definition_depth else _ConstantGradient.apply(x)
        return super()._forward(x, inputs) + y
