"""The linear recurrence h_t = a_t * h_{t-1} + b_t, element by element.

The fast form composes the steps within groups of ``RADIX``, all groups at once, recurses on the groups, and reruns
every group from its initial state. The number of kernels grows with log T, the work with T. Factors are only
multiplied in the loop's order, so that nothing overflows that doesn't in the loop. (Blelloch, "Prefix sums and their
applications", 1990.)
On the CPU the native kernel runs the loop, vectorised over columns.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import primitive
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths
from anyformer.ops._memory import dense, empty_dense
from anyformer.precision import wide

RADIX = 16


def scan_definition(
    a: Tensor, b: Tensor, initial: Tensor | None = None, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """The loop; see :func:`scan`."""
    a, b, h, dtype = _prepare(a, b, initial)
    T = b.shape[-2]
    states: list[Tensor] = [h] * T
    for t in reversed(range(T)) if reverse else range(T):
        h = a[..., t, :] * h + b[..., t, :]
        states[t] = h
    return (torch.stack(states, -2) if T else b).to(dtype), h


def scan_flops(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs: two a step and element, three more to compose groups; complex operations count fourfold."""
    a, b = torch.broadcast_tensors(a, b)
    per_step = 5 if b.shape[-2] > 2 * RADIX else 2
    return per_step * b.numel() * (4 if b.is_complex() or a.is_complex() else 1)


@primitive(
    "scan",
    definition=scan_definition,
    flops=scan_flops,
)
def scan(
    a: Tensor, b: Tensor, initial: Tensor | None = None, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Run h_t = a_t * h_{t-1} + b_t over the last axis but one.

    Args:
        a: factors, real or complex, (..., T, N) or broadcastable to ``b``; may be zero.
        b: inputs, (..., T, N).
        initial: the state before the first step, (..., N); zeros if None.
        reverse: run from the last step to the first.

    Returns:
        The states h (..., T, N) in the dtype of the inputs, and the last state (..., N) in at least float32, which is
        the initial one where T = 0.

    Raises:
        ValueError: if a, b or initial don't fit together.
    """
    a, b, initial, dtype = _prepare(a, b, initial)
    T = b.shape[-2]
    if T == 0:
        return b.to(dtype), initial
    if T == 1:
        h = a * initial.unsqueeze(-2) + b
        return h.to(dtype), h.squeeze(-2)
    h = _scan(a, b, initial, reverse)
    return h.to(dtype), h[..., 0 if reverse else -1, :]


def _prepare(a: Tensor, b: Tensor, initial: Tensor | None) -> tuple[Tensor, Tensor, Tensor, torch.dtype]:
    """Check, widen and broadcast the arguments; a may keep a last axis of 1, shared by all columns."""
    if b.dim() < 2:
        raise ValueError(f"b must be (..., T, N), got shape {tuple(b.shape)}")
    *lead, T, N = b.shape
    try:
        a = a.expand(*lead, T, 1 if a.dim() and a.shape[-1] == 1 else N)
    except RuntimeError:
        raise ValueError(f"a must broadcast to b {tuple(b.shape)}, got shape {tuple(a.shape)}") from None
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(wide(dtype)), b.to(wide(dtype))
    if initial is None:
        initial = b.new_zeros(*lead, N)
    elif initial.shape != (*lead, N):
        raise ValueError(f"initial must have shape {(*lead, N)}, got {tuple(initial.shape)}")
    return a, b, initial.to(b.dtype), dtype


def _steps(h: Tensor, a: Tensor, b: Tensor, state: Tensor, reverse: bool) -> None:
    """Write the states of a few steps into h, by the loop."""
    T = b.shape[-2]
    for t in reversed(range(T)) if reverse else range(T):
        state = torch.addcmul(b.select(-2, t), a.select(-2, t), state, out=h.select(-2, t))


def _scan_into(h: Tensor, a: Tensor, b: Tensor, state: Tensor, reverse: bool = False) -> None:
    """Write the states of all steps into h, by groups of RADIX steps; the remaining steps run last."""
    T = b.shape[-2]
    if T <= 2 * RADIX:
        return _steps(h, a, b, state, reverse)
    groups, rest = divmod(T, RADIX)
    if rest:
        tail = slice(0, rest) if reverse else slice(T - rest, T)
        body = slice(rest, T) if reverse else slice(0, T - rest)
        _scan_into(h[..., body, :], a[..., body, :], b[..., body, :], state, reverse)
        state = h.select(-2, rest if reverse else T - rest - 1)
        return _steps(h[..., tail, :], a[..., tail, :], b[..., tail, :], state, reverse)
    h, a, b = (x.unflatten(-2, (groups, RADIX)) for x in (h, a, b))
    order = range(RADIX - 1, -1, -1) if reverse else range(RADIX)
    total_a, total_b = a.select(-2, order[0]).clone(), b.select(-2, order[0]).clone()
    for r in order[1:]:
        total_a.mul_(a.select(-2, r))
        torch.addcmul(b.select(-2, r), a.select(-2, r), total_b, out=total_b)
    ends = torch.empty_like(total_b)
    _scan_into(ends, total_a, total_b, state, reverse)
    state = state.unsqueeze(-2)
    before = (ends[..., 1:, :], state) if reverse else (state, ends[..., :-1, :])
    _steps_of_groups(h, a, b, torch.cat(before, -2), order)


def _steps_of_groups(h: Tensor, a: Tensor, b: Tensor, state: Tensor, order: range) -> None:
    for r in order:
        state = torch.addcmul(b.select(-2, r), a.select(-2, r), state, out=h.select(-2, r))


def _layout(a: Tensor, h: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return the kernels' table: L, T, N, the strides of a over leads and time, and 1 if columns share a."""
    *lead, T, N = h.shape
    width, a = a.shape[-1], a.resolve_neg()
    same = all(a.stride(i) == 0 or n == 1 for i, n in enumerate(lead))
    if not same or (width > 1 and a.stride(-1) != 1):
        a, same = a.contiguous(), False
    return a, (math.prod(lead), T, N, 0 if same else T * width, a.stride(-2), int(width != N))


def _native(a: Tensor, b: Tensor, initial: Tensor, reverse: bool) -> Tensor:
    h = empty_dense(b)
    a, sizes = _layout(a, h)
    kernels.run("scan", a, dense(b), dense(initial), h, *sizes, reverse)
    return h


def _in_groups(a: Tensor, b: Tensor, initial: Tensor, reverse: bool) -> Tensor:
    h = empty_dense(b)
    _scan_into(h, a, b, initial, reverse)
    return h


_PATHS = Paths(
    "scan",
    Path(
        "native", "the loop in C, vectorised over columns", _native, lambda *args: kernels.refuses(*args[:3])
    ),
    Path("groups", "groups of steps, composed level by level in PyTorch", _in_groups),
)


def _backward(
    grads: list[Tensor], kept: list[Tensor], needs: list[bool], *given: Any
) -> tuple[Tensor | None, ...]:
    """Run the adjoint backwards: g_t = grad_t + conj(a_{t+1}) g_{t+1}; db_t = g_t, da_t = g_t conj(h_{t-1})."""
    (grad,), (h,), (a, _, initial, reverse) = grads, kept, given
    g, grad_a = empty_dense(grad), empty_dense(a) if needs[0] else None
    first = -1 if reverse else 0
    if kernels.refuses(grad, a, h, initial) is None:
        factors, sizes = _layout(a, h)
        tensors = (factors, dense(grad), dense(h), dense(initial), g, grad_a)
        kernels.run("scan_backward", *tensors, *sizes, reverse)
        return grad_a, g, a[..., first, :] * g[..., first, :]
    a, h, initial = (x.conj().resolve_conj() for x in (a, h, initial))
    early, late = (slice(1, None), slice(None, -1)) if reverse else (slice(None, -1), slice(1, None))
    last = 0 if reverse else -1
    g[..., last, :] = grad[..., last, :]
    _scan_into(g[..., early, :], a[..., late, :], grad[..., early, :], g[..., last, :], not reverse)
    if grad_a is not None:
        start = initial.unsqueeze(-2)
        before = torch.cat((h[..., early, :], start) if reverse else (start, h[..., early, :]), -2)
        if a.shape[-1] == g.shape[-1]:
            torch.mul(g, before, out=grad_a)
        else:
            grad_a.copy_(torch.einsum("...n,...n->...", g, before).unsqueeze(-1))
    return grad_a, g, a[..., first, :] * g[..., first, :]


def _backward_again(
    grads: list[Tensor], kept: list[Tensor], needs: list[bool], *given: Any
) -> tuple[Tensor, ...]:
    """Return the gradients by the public scan, which can be differentiated again."""
    (grad,), (h,), (a, _, initial, reverse) = grads, kept, given
    first, early, late = (
        (-1, slice(1, None), slice(None, -1)) if reverse else (0, slice(None, -1), slice(1, None))
    )
    end, start = torch.zeros_like(a[..., :1, :]), initial.unsqueeze(-2)
    after = torch.cat((end, a[..., late, :]) if reverse else (a[..., late, :], end), -2)
    before = torch.cat((h[..., early, :], start) if reverse else (start, h[..., early, :]), -2)
    g = _scan(after.conj().resolve_conj(), grad, torch.zeros_like(initial), not reverse)
    grad_a = (g * before.conj()).sum_to_size(a.shape)
    return grad_a, g, a[..., first, :].conj() * g[..., first, :]


_scan = custom_op(
    _PATHS,
    "scan",
    outputs=lambda a, b, initial, reverse: empty_dense(b),
    backward=_backward,
    again=_backward_again,
    keeps=[0],
)
