"""The recurrence of Mamba, h_t = exp(dt_t A) h_{t-1} + u_t B_t, y_t = C_t h_t, and its adjoint.

A program runs some channels of one sample, with all their states, over chunks of tokens; within a chunk the scan is
parallel. The initial states of the chunks are kept for the backward, which recomputes the others.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from anyformer.kernels.cuda import CHUNK

ELEMENTS = 2048
"""State elements of a chunk per program, at least one channel's."""


@triton.jit
def _then(a, b, a_next, b_next):
    """Compose h -> a h + b with the later h -> a_next h + b_next."""
    return a * a_next, a_next * b + b_next


@triton.jit
def _forward(
    u, dt, A, B_, C_, initial, y, last, starts, T, D, K, b_batch, b_time, c_batch, c_time,
    KEEP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    sample, local = tl.program_id(0).to(tl.int64), tl.arange(0, BT)
    d, k = tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BK)
    state, of_state = d[:, None] * K + k[None, :], (d < D)[:, None] & (k < K)[None, :]
    a = tl.load(A + state, mask=of_state, other=0.0)
    h = tl.load(initial + sample * D * K + state, mask=of_state, other=0.0)
    chunks = tl.cdiv(T, BT)
    for chunk in range(chunks):
        if KEEP:
            tl.store(starts + (sample * chunks + chunk) * D * K + state, h, mask=of_state)
        t = chunk * BT + local
        row, of_row = (sample * T + t)[:, None] * D + d[None, :], (t < T)[:, None] & (d < D)[None, :]
        of_k = (t < T)[:, None] & (k < K)[None, :]
        step = tl.load(dt + row, mask=of_row, other=0.0)  # padding: no decay, no input
        ut = tl.load(u + row, mask=of_row, other=0.0)
        bt = tl.load(B_ + sample * b_batch + t[:, None] * b_time + k[None, :], mask=of_k, other=0.0)
        ct = tl.load(C_ + sample * c_batch + t[:, None] * c_time + k[None, :], mask=of_k, other=0.0)
        added = ut[:, :, None] * bt[:, None, :]
        whole, own = tl.associative_scan((tl.exp(step[:, :, None] * a[None, :, :]), added), 0, _then)
        states = whole * h[None, :, :] + own
        tl.store(y + row, tl.sum(states * ct[:, None, :], 2), mask=of_row)
        h = tl.sum(tl.where((local == BT - 1)[:, None, None], states, 0.0), 0)
    tl.store(last + sample * D * K + state, h, mask=of_state)


@triton.jit
def _backward(
    grad, grad_last, u, dt, A, B_, C_, starts, y, grad_u, grad_dt, grad_A, grad_B, grad_C, grad_initial,
    T, D, K, b_batch, b_time, c_batch, c_time, BT: tl.constexpr, BD: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    sample, local = tl.program_id(0).to(tl.int64), tl.arange(0, BT)
    d, k = tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BK)
    state, of_state = d[:, None] * K + k[None, :], (d < D)[:, None] & (k < K)[None, :]
    a = tl.load(A + state, mask=of_state, other=0.0)
    run = tl.load(grad_last + sample * D * K + state, mask=of_state, other=0.0)  # gradient of the state
    of_a = tl.zeros_like(a)
    chunks = tl.cdiv(T, BT)
    for i in range(chunks):
        chunk = chunks - 1 - i
        h = tl.load(starts + (sample * chunks + chunk) * D * K + state, mask=of_state, other=0.0)
        t = chunk * BT + local
        row, of_row = (sample * T + t)[:, None] * D + d[None, :], (t < T)[:, None] & (d < D)[None, :]
        place, of_k = (sample * T + t)[:, None] * K + k[None, :], (t < T)[:, None] & (k < K)[None, :]
        step = tl.load(dt + row, mask=of_row, other=0.0)
        ut = tl.load(u + row, mask=of_row, other=0.0)
        gy = tl.load(grad + row, mask=of_row, other=0.0)
        bt = tl.load(B_ + sample * b_batch + t[:, None] * b_time + k[None, :], mask=of_k, other=0.0)
        ct = tl.load(C_ + sample * c_batch + t[:, None] * c_time + k[None, :], mask=of_k, other=0.0)
        decay, added = tl.exp(step[:, :, None] * a[None, :, :]), ut[:, :, None] * bt[:, None, :]
        whole, own = tl.associative_scan((decay, added), 0, _then)
        states = whole * h[None, :, :] + own
        tl.store(y + row, tl.sum(states * ct[:, None, :], 2), mask=of_row)
        # g_t = gy_t C_t + decay_{t+1} g_{t+1}; run holds the part from later chunks
        has_next = ((t + 1 < T) & (local < BT - 1))[:, None] & (d < D)[None, :]
        later = tl.exp(tl.load(dt + row + D, mask=has_next, other=0.0)[:, :, None] * a[None, :, :])
        ends = tl.where((local == BT - 1)[:, None, None], run[None, :, :], 0.0)
        _, g = tl.associative_scan((later, gy[:, :, None] * ct[:, None, :] + ends), 0, _then, reverse=True)
        through = g * (states - added)  # the gradient of the exponent: g_t decay_t h_{t-1}
        tl.store(grad_u + row, tl.sum(g * bt[:, None, :], 2), mask=of_row)
        tl.store(grad_dt + row, tl.sum(through * a[None, :, :], 2), mask=of_row)
        of_a += tl.sum(through * step[:, :, None], 0)
        tl.atomic_add(grad_B + place, tl.sum(g * ut[:, :, None], 1), mask=of_k)
        tl.atomic_add(grad_C + place, tl.sum(gy[:, :, None] * states, 1), mask=of_k)
        run = tl.sum(tl.where((local == 0)[:, None, None], g * decay, 0.0), 0)
    tl.store(grad_A + sample * D * K + state, of_a, mask=of_state)
    tl.store(grad_initial + sample * D * K + state, run, mask=of_state)


def _grid(u: Tensor, K: int) -> tuple[tuple[int, int], dict[str, int]]:
    """Return the launch grid, and the block sizes of a program."""
    B, _, D = u.shape
    BK = triton.next_power_of_2(K)
    BD = max(1, min(ELEMENTS // (CHUNK * BK), triton.next_power_of_2(D)))
    return (B, triton.cdiv(D, BD)), {"BT": CHUNK, "BD": BD, "BK": BK}


def _by_token(*tensors: Tensor) -> tuple[list[Tensor], list[int]]:
    """Return tensors (B, T, K) with contiguous rows, and their strides over B and T."""
    rows = [x if x.stride(2) == 1 else x.contiguous() for x in tensors]
    return rows, [x.stride(axis) for x in rows for axis in (0, 1)]


def forward(
    u: Tensor, dt: Tensor, A: Tensor, B_: Tensor, C_: Tensor, initial: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the last state, and the initial states of the chunks (B, n, D, K), empty unless ``keep``.

    Args:
        u, dt: (B, T, D). A: (D, K). B_, C_: (B, T, K). initial: (B, D, K).
    """
    (B, T, D), K = u.shape, A.shape[1]
    u, dt, A, initial = (x.contiguous() for x in (u, dt, A, initial))
    rows, strides = _by_token(B_, C_)
    y, last = torch.empty_like(u), torch.empty_like(initial)
    starts = u.new_empty((B, triton.cdiv(T, CHUNK), D, K) if keep else 0)
    grid, sizes = _grid(u, K)
    _forward[grid](u, dt, A, *rows, initial, y, last, starts, T, D, K, *strides, KEEP=keep, **sizes)
    return y, last, starts


def backward(
    grad: Tensor, grad_last: Tensor, u: Tensor, dt: Tensor, A: Tensor, B_: Tensor, C_: Tensor, starts: Tensor
) -> tuple[Tensor, ...]:
    """Return y, recomputed, and the gradients of u, dt, A, B_, C_ and the initial state.

    The gradients of B_ and C_ are accumulated atomically, in no fixed order.
    """
    (_, T, D), K = u.shape, A.shape[1]
    grad, grad_last, u, dt, A = (x.contiguous() for x in (grad, grad_last, u, dt, A))
    rows, strides = _by_token(B_, C_)
    y, grad_u, grad_dt, grad_initial, grad_A = (torch.empty_like(x) for x in (u, u, u, grad_last, grad_last))
    grad_B, grad_C = (torch.zeros_like(x, memory_format=torch.contiguous_format) for x in rows)
    grid, sizes = _grid(u, K)
    outputs = (y, grad_u, grad_dt, grad_A, grad_B, grad_C, grad_initial)
    _backward[grid](grad, grad_last, u, dt, A, *rows, starts, *outputs, T, D, K, *strides, **sizes)
    return y, grad_u, grad_dt, grad_A.sum(0), grad_B, grad_C, grad_initial
