"""The gated product of SwiGLU: silu(gate) * up (Shazeer 2020, eq. 5-6)."""

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


def swiglu_definition(gate: Tensor, up: Tensor) -> Tensor:
    """The formula; see :func:`swiglu`."""
    return gate * gate.sigmoid() * up


@primitive(
    "swiglu",
    definition=swiglu_definition,
    flops=lambda *_, **__: 0,  # FLOPs of elementwise ops are not counted, as in PyTorch's counter
)
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """y = gate * sigmoid(gate) * up, element by element, all of one shape."""
    y: Tensor = _PATHS(gate, up)
    return y


def _refuses(gate: Tensor, up: Tensor) -> str | None:
    if gate.shape != up.shape:
        return "gate and up differ in shape"
    return refuses_outside_autograd(gate, up)


def _native(gate: Tensor, up: Tensor) -> Tensor:
    y: Tensor = _SwiGLU.apply(gate, up) if needs_grad(gate, up) else _forward(gate, up)
    return y


def _in_pytorch(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


_PATHS = Paths(
    "swiglu",
    Path("native", "in C, one pass", _native, _refuses),
    Path("PyTorch", "torch.nn.functional.silu and a product", _in_pytorch),
)


def _forward(gate: Tensor, up: Tensor) -> Tensor:
    gate = dense(gate)
    y = torch.empty_like(gate)
    kernels.run("swiglu", gate, dense(up), y, y.numel())
    return y


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _forward(gate, up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        if torch.is_grad_enabled():
            return tuple(gradients_again(swiglu_definition, (gate, up), ctx.needs_input_grad, grad))
        gate, up, grad = dense(gate), dense(up), dense(grad)
        grad_gate, grad_up = torch.empty_like(gate), torch.empty_like(up)
        kernels.run("swiglu_backward", gate, up, grad, grad_gate, grad_up, grad.numel())
        return grad_gate, grad_up
