"""A gate and what passes through it: silu(gate) * up (Shazeer 2020, eq. 5-6)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import native_path, primitive
from anyformer.ops._eager import gradients_again, native, tracked
from anyformer.ops._layout import dense


def swiglu_definition(gate: Tensor, up: Tensor) -> Tensor:
    """The formula; see :func:`swiglu`."""
    return gate * gate.sigmoid() * up


@primitive(
    "swiglu",
    definition=swiglu_definition,
    flops=lambda *_, **__: 0,  # PyTorch's counter counts matrix products only
    path=native_path("PyTorch", "torch.nn.functional.silu and a product"),
)
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """y = gate * sigmoid(gate) * up, element by element, all of one shape."""
    if gate.shape != up.shape or not native(gate, up):
        return F.silu(gate) * up
    y: Tensor = _SwiGLU.apply(gate, up) if tracked(gate, up) else _forward(gate, up)
    return y


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
