"""The paths of the selective scan, behind one custom operator: in C, in Triton, and in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from anyformer import kernels
from anyformer.kernels import cuda
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths
from anyformer.ops._memory import dense, empty_dense, rows
from anyformer.ops.selective_scan.chunks import all_states, finish, recurrence_backward, scan_chunks, step
from anyformer.ops.selective_scan.definition import chunk_length

LANES = 256  # bytes of neighbouring channels that the kernels process at once

Maybe = Tensor | None
Outputs = tuple[Tensor, Tensor, Tensor]


def _rows(*tensors: Maybe) -> tuple[list[Maybe], list[int]]:
    """Return tensors (B, T, W) with contiguous rows, and their strides over B and T."""
    laid = [rows(x) for x in tensors]
    return laid, [n for x in laid for n in ((0, 0) if x is None else x.stride()[:2])]


def _native(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    initial: Tensor,
    gate: Tensor | None,
    dt_softplus: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    (B, T, D), C = x.shape, chunk_length(x.shape[1], initial.numel())
    y, final = x.new_empty(x.shape), x.new_empty(initial.shape)
    starts = x.new_empty(_kept("native", x, A, initial) if keep else 0)
    laid, strides = _rows(B_, C_, gate)
    inputs = (dense(x), dense(dt), dense(A), *laid[:2], dense(skip), dense(initial), laid[2])
    sizes = (B, T, D, A.shape[1], *strides, C, dt_softplus)
    kernels.run("selective_scan", *inputs, y, final, starts if keep else None, *sizes)
    return y, final, starts


def _kept(path: str, x: Tensor, A: Tensor, initial: Tensor) -> tuple[int, ...]:
    """Return the shape of the chunks' initial states, whose number of axes tells the backward which path kept them.

    (B, n, D * K) in the native kernels' order, (B, n, 1, D, K) of Triton's chunks, (B, n, D, K) in PyTorch.
    """
    B, T, _ = x.shape
    if path == "Triton":
        return (B, -(-T // cuda.CHUNK), 1, *A.shape)
    n = -(-T // chunk_length(T, initial.numel()))
    return (B, n, A.numel()) if path == "native" else (B, n, *A.shape)


def _triton(*given: Any) -> Outputs:
    from anyformer.kernels.cuda import selective_scan as triton

    x, dt, A, B_, C_, skip, initial, gate, dt_softplus, keep = given
    dt = softplus(dt) if dt_softplus else dt
    y, last, starts = triton.forward(dt * x, dt, A, B_, C_, initial, keep)
    return finish(y, x, skip, gate), last, starts[:, :, None] if keep else starts


def _refuses_step(x: Tensor, *_: Any) -> str | None:
    return None if x.shape[1] == 1 else "for a single token only"


def _step(x: Tensor, dt: Tensor, *rest: Any) -> Outputs:
    *tensors, dt_softplus, keep = rest
    y, last, starts = step(x, softplus(dt) if dt_softplus else dt, *tensors)
    return y, last, starts.clone() if keep else x.new_empty(0)


def _chunks(x: Tensor, dt: Tensor, *rest: Any) -> Outputs:
    *tensors, dt_softplus, keep = rest
    y, last, starts = scan_chunks(x, softplus(dt) if dt_softplus else dt, *tensors)
    return y, last, starts.clone() if keep else x.new_empty(0)


PATHS = Paths(
    "selective_scan",
    Path(
        "native", "the loop in C, vectorised over channels", _native, lambda *args: kernels.refuses(*args[:8])
    ),
    Path(
        "step",
        "one token of a stream, in PyTorch",
        _step,
        _refuses_step,
    ),
    Path(
        "Triton",
        "chunks of tokens, each scanned in parallel",
        _triton,
        lambda *args: cuda.refuses(*args[:5], args[6]),
    ),
    Path("chunks", "all chunks in parallel in PyTorch, recomputed in the backward", _chunks),
)


def _outputs(*args: Any) -> Outputs:
    """Allocate y (B, T, D), the last state, and the chunks' initial states, which are empty unless kept."""
    x, _, A, _, _, _, initial, *_, keep = args
    shape = _kept(PATHS.choice(*args).path.name, x, A, initial) if keep else (0,)
    return empty_dense(x), empty_dense(initial), x.new_empty(shape)


def _backward(grads: list[Maybe], kept: list[Tensor], needs: list[bool], *given: Any) -> tuple[Maybe, ...]:
    x, dt, A, B_, C_, skip, initial, gate, dt_softplus, _ = given
    grad, grad_final = (x.new_zeros(t.shape) if g is None else g for g, t in zip(grads, (x, initial)))
    starts = kept[0]
    if starts.dim() > 3:
        return _backward_in_pytorch(grad, grad_final, starts, *given)
    (B, T, D), K = x.shape, A.shape[1]
    lanes = LANES // x.element_size()
    width = lanes * max(1, min(8, B * D // (lanes * torch.get_num_threads())))  # channels of one task
    laid, strides = _rows(B_, C_, gate)
    grad_x, grad_dt, grad_initial = empty_dense(x), empty_dense(x), x.new_empty(B, D, K)
    grad_A, grad_skip = x.new_empty(B, D, K), x.new_empty((0,) if skip is None else (B, D))
    grad_B, grad_C = x.new_empty(2, -(-D // width), B, T, K)
    grad_gate = x.new_empty(0 if gate is None else x.shape)
    whole = (dense(value) for value in (grad, grad_final, x, dt, A))
    values = (*whole, *laid[:2], dense(skip), laid[2], dense(starts))
    outputs = (grad_x, grad_dt, grad_A, grad_B, grad_C, grad_skip, grad_initial, grad_gate)
    sizes = (B, T, D, K, *strides, chunk_length(T, initial.numel()), dt_softplus, width)
    kernels.run("selective_scan_backward", *values, *outputs, *sizes)
    sums = grad_A.sum(0), grad_B.sum(0), grad_C.sum(0), grad_skip.sum(0)
    return grad_x, grad_dt, *sums, grad_initial, grad_gate


def _backward_in_pytorch(grad: Tensor, grad_final: Tensor, starts: Tensor, *given: Any) -> tuple[Maybe, ...]:
    x, dt, A, B_, C_, skip, _, gate, dt_softplus, _ = given
    raw = dt
    dt, gated = softplus(dt) if dt_softplus else dt, grad
    grad = grad if gate is None else grad * silu(gate)
    if starts.dim() == 5:
        from anyformer.kernels.cuda import selective_scan as triton

        found = triton.backward(grad, grad_final, dt * x, dt, A, B_, C_, starts[:, :, 0])
    else:
        found = recurrence_backward(grad, grad_final, dt * x, dt, A, B_, C_, starts)
    y, grad_u, grad_dt, grad_A, grad_B, grad_C, grad_initial = found
    grad_x, grad_dt = grad_u * dt, grad_dt.addcmul_(grad_u, x)
    grad_dt = grad_dt.mul_(raw.sigmoid()) if dt_softplus else grad_dt
    if skip is not None:
        grad_x.addcmul_(skip, grad)
    grad_skip = None if skip is None else (grad * x).sum((0, 1))
    grad_gate = None
    if gate is not None:
        grad_gate = torch.ops.aten.silu_backward(gated * finish(y, x, skip, None), gate)
    return grad_x, grad_dt, grad_A, grad_B, grad_C, grad_skip, grad_initial, grad_gate


selective_scan_op = custom_op(
    PATHS,
    "selective_scan",
    outputs=_outputs,
    backward=_backward,
    formula=lambda *args: all_states(*args[:-1]),
    keeps=[2],
)
