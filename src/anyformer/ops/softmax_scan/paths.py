"""The paths of the softmax scan, behind one custom operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths
from anyformer.ops._memory import copy, dense, empty_by_time, empty_dense, rows
from anyformer.ops.softmax_scan.definition import SoftmaxState
from anyformer.ops.softmax_scan.scans import backward_in_pytorch, forward_in_pytorch

CHUNK = 32
"""Steps between two states that the native forward keeps, as in kernels/cpu/softmax_scan.c."""

Maybe = Tensor | None
Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _room(x: Tensor) -> Tensor:
    """Allocate a result of x's shape (B, H, T, N), laid out (B, T, H, N) in memory, as around a mixer."""
    return empty_by_time(x, *x.shape) if kernels.refuses(x) is None else empty_dense(x)


def _num_kept(T: int) -> int:
    """Return the number of chunks but the first: the states that the native kernel keeps."""
    return (T - 1) // CHUNK


def _room_for_starts(scores: Tensor, v: Tensor) -> Tensor:
    B, H, T, V = v.shape
    return v.new_empty(B, H, _num_kept(T) if kernels.refuses(v) is None else 0, V + 2 * scores.shape[3])


def _steps(x: Tensor) -> Tensor:
    """Return x (B, H, T, N) with a contiguous last axis, its steps not expanded: stride 0 means one shared step."""
    x = rows(x)
    return x if x.stride(2) or x.shape[2] == 1 else x.contiguous()


def _layout(scores: Tensor, v: Tensor, d: Tensor | None, *grad: Tensor) -> tuple[int, ...]:
    """Return the kernels' table: B, H, T, V, W, and the strides over B, H and T; zero where a decay is shared."""
    B, H, T, V = v.shape
    strides = [stride for x in (scores, v) for stride in x.stride()[:3]]
    if d is None:
        strides += [0, 0, 0]
    else:
        strides += [0 if size == 1 else stride for size, stride in zip(d.shape[:3], d.stride())]
    strides += [stride for x in grad for stride in x.stride()[:3]]
    return (B, H, T, V, scores.shape[3], *strides)


def _outputs(
    scores: Tensor, v: Tensor, d: Maybe, bonus: Maybe, m0: Tensor, u0: Tensor, w0: Tensor
) -> Outputs:
    """Allocate y, the final m, u and w, and the initial states of the native backward's chunks."""
    return _room(v), empty_dense(m0), empty_dense(u0), empty_dense(w0), _room_for_starts(scores, v)


def _native(scores: Tensor, v: Tensor, d: Maybe, bonus: Maybe, m0: Tensor, u0: Tensor, w0: Tensor) -> Outputs:
    y, kept = _room(v), _room_for_starts(scores, v)
    m, u, w = copy(m0), copy(u0), copy(w0)
    scores, v, d = _steps(scores), _steps(v), None if d is None else _steps(d)
    kernels.run("softmax_scan", scores, v, d, dense(bonus), m, u, w, y, kept, *_layout(scores, v, d))
    return y, m, u, w, kept


def _scans(*given: Any) -> Outputs:
    return *forward_in_pytorch(*given), _room_for_starts(*given[:2])


PATHS = Paths(
    "softmax_scan",
    Path(
        "native",
        "the loop in C, recomputed by chunks in the backward",
        _native,
        kernels.refuses,
    ),
    Path("scans", "a running maximum and two scans in PyTorch", _scans),
)


def _gradients(
    scores: Tensor, v: Tensor, d: Maybe, bonus: Maybe, m0: Tensor, u0: Tensor, w0: Tensor
) -> tuple[Maybe, ...]:
    of_d, of_bonus = (None if x is None else empty_dense(x) for x in (d, bonus))
    return _room(scores), _room(v), of_d, of_bonus, None, empty_dense(u0), empty_dense(w0)


def _backward(coming: list[Maybe], kept: list[Tensor], needs: list[bool], *args: Any) -> tuple[Maybe, ...]:
    scores, v, d, bonus, m0, u0, w0 = args
    given = zip((coming[0], *coming[2:4]), (v, u0, w0))
    grad, last_u, last_w = (x.new_zeros(x.shape) if g is None else g for g, x in given)
    (B, H, T, _), states, starts = v.shape, (m0, u0, w0), kept[0]
    if kernels.refuses(grad, scores, v, d, bonus, *states) is not None or starts.shape[2] != _num_kept(T):
        return backward_in_pytorch(scores, v, d, bonus, SoftmaxState(*states), (grad, last_u, last_w))
    grad, scores, v, d = _steps(grad), _steps(scores), _steps(v), None if d is None else _steps(d)
    grad_scores, grad_v, grad_bonus = _room(scores), _room(v), v.new_zeros(B, H, 1, scores.shape[3])
    grad_d = torch.zeros_like(grad_bonus) if d is None or d.shape[2] == 1 else _room(scores)
    grad_u, grad_w = copy(last_u), copy(last_w)
    grads = grad_scores, grad_v, grad_d, grad_bonus, grad_u, grad_w
    tensors = scores, v, d, dense(bonus), *(dense(x) for x in states), dense(starts), grad, *grads
    kernels.run("softmax_scan_backward", *tensors, *_layout(scores, v, d, grad))
    of_d = None if d is None else grad_d.sum_to_size(d.shape)
    return grad_scores, grad_v, of_d, grad_bonus.sum((0, 2)), None, grad_u, grad_w


softmax_scan_op = custom_op(
    PATHS,
    "softmax_scan",
    outputs=_outputs,
    backward=_backward,
    gradients=_gradients,
    formula=forward_in_pytorch,
    keeps=[4],
    constant=(1, 4),
)
