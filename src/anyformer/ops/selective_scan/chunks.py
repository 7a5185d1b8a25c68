"""Chunks in PyTorch, one token of every chunk at a time, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, silu, softplus

from anyformer.ops.scan import scan
from anyformer.ops.selective_scan.definition import chunk_length

RECOMPUTED = 1 << 22  # state elements that the backward materialises at once

Scanned = tuple[Tensor, Tensor, Tensor]
"""y (B, T, D), the last state (B, D, K), and the initial states of the chunks (B, n, D, K)."""


def step(x: Tensor, dt: Tensor, A: Tensor, B_: Tensor, C_: Tensor, *rest: Tensor | None) -> Scanned:
    """Advance by one token of a stream."""
    skip, initial, gate = rest
    assert initial is not None
    h = torch.addcmul((dt.mT * A).exp_().mul_(initial), (dt * x).mT, B_)
    return finish((h @ C_.mT).mT, x, skip, gate), h, initial[:, None]


def scan_chunks(x: Tensor, dt: Tensor, A: Tensor, B_: Tensor, C_: Tensor, *rest: Tensor | None) -> Scanned:
    """Run all chunks in parallel."""
    skip, initial, gate = rest
    assert initial is not None
    A = A.clamp_min(torch.finfo(A.dtype).min)  # 0 * -inf is NaN
    C = chunk_length(x.shape[1], initial.numel())
    parts = [_split(value, C) for value in (dt * x, dt, B_, C_)]
    starts = _starts(parts[1], parts[0], A, parts[2], initial)
    h = starts.clone()
    y = torch.empty_like(parts[0])
    for r, (u, dt_r, B_r, C_r) in enumerate(zip(*parts)):
        _advance(h, _decay(dt_r, A), u, B_r)
        torch.matmul(h, C_r[..., None], out=y[r][..., None])
    return finish(_join(y, x.shape[1]), x, skip, gate), h[:, -1].clone(), starts


def all_states(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    initial: Tensor,
    gate: Tensor | None,
    dt_softplus: bool,
) -> tuple[Tensor, Tensor]:
    """Run the scan with the states of all tokens, K times larger than x, for second derivatives."""
    dt = softplus(dt) if dt_softplus else dt
    decay, added = (dt[..., None] * A).exp(), (dt * x)[..., None] * B_[:, :, None]
    states, last = scan(decay.flatten(2), added.flatten(2), initial.flatten(1))
    y = (states.unflatten(2, A.shape) @ C_[..., None])[..., 0]
    y = y if skip is None else y + skip * x
    return y if gate is None else y * silu(gate), last.unflatten(1, A.shape)


def finish(y: Tensor, x: Tensor, skip: Tensor | None, gate: Tensor | None) -> Tensor:
    """Add skip * x and apply the gate, in place."""
    y = y if skip is None else y.addcmul_(skip, x)
    return y if gate is None else y.mul_(silu(gate))


def _split(x: Tensor, C: int) -> Tensor:
    """Reshape (B, T, W) to (C, B, n, W), position in the chunk first; zero padding leaves the state as it is."""
    n = -(-x.shape[1] // C)
    return pad(x, (0, 0, 0, n * C - x.shape[1])).unflatten(1, (n, C)).permute(2, 0, 1, 3).contiguous()


def _join(x: Tensor, T: int) -> Tensor:
    """Invert :func:`_split`."""
    return x.permute(1, 2, 0, 3).flatten(1, 2)[:, :T].contiguous()


def _decay(dt: Tensor, A: Tensor) -> Tensor:
    return (dt[..., None] * A).exp_()


def _advance(h: Tensor, decay: Tensor, u: Tensor, B_: Tensor) -> Tensor:
    """Advance h (B, n, D, K) by one step, in place."""
    return h.mul_(decay).addcmul_(u[..., None], B_[:, :, None])


def _starts(dt: Tensor, u: Tensor, A: Tensor, B_: Tensor, initial: Tensor) -> Tensor:
    """Return the initial state of each chunk, (B, n, D, K)."""
    C, B, n, D = dt.shape
    if n == 1:
        return initial[:, None]
    added = dt.new_zeros(B, n, *A.shape)
    for r in range(C):
        _advance(added, _decay(dt[r], A), u[r], B_[r])
    whole = _decay(dt.sum(0), A)
    after, _ = scan(whole.flatten(2), added.flatten(2), initial.flatten(1))
    return torch.cat((initial[:, None], after.unflatten(2, A.shape)[:, :-1]), 1)


def _adjoint_ends(dt: Tensor, A: Tensor, C_: Tensor, grad: Tensor, grad_final: Tensor) -> Tensor:
    """Return the gradient of the state at each chunk's end from later chunks, (B, n, D, K)."""
    C, B, n, D = dt.shape
    if n == 1:
        return grad_final[:, None]
    added = dt.new_zeros(B, n, *A.shape)
    for r in reversed(range(C)):
        added.addcmul_(grad[r][..., None], C_[r][:, :, None]).mul_(_decay(dt[r], A))
    whole = _decay(dt.sum(0), A)
    before, _ = scan(whole.flatten(2), added.flatten(2), grad_final.flatten(1), reverse=True)
    return torch.cat((before.unflatten(2, A.shape)[:, 1:], grad_final[:, None]), 1)


def recurrence_backward(
    grad: Tensor,
    grad_final: Tensor,
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    starts: Tensor,
) -> tuple[Tensor, ...]:
    """Return y before skip and gate, and the gradients of u = dt x, dt, A, B_, C_ and the initial state."""
    C = chunk_length(u.shape[1], grad_final.numel())
    parts = [_split(value, C) for value in (grad, u, dt, B_, C_)]
    ends = _adjoint_ends(parts[2], A, parts[4], parts[0], grad_final)
    outputs = [torch.empty_like(part) for part in parts]  # the first is y before skip and gate
    grad_A, grad_initial = torch.zeros_like(A), grad_final
    at_once = max(1, RECOMPUTED // max(1, C * starts[:, 0].numel()))
    for first in range(0, starts.shape[1], at_once):
        some = slice(first, first + at_once)
        local = [part[:, :, some] for part in parts], [o[:, :, some] for o in outputs]
        part_A, before = _some_backward(*local, A, starts[:, some], ends[:, some])
        grad_A += part_A
        grad_initial = before[:, 0] if first == 0 else grad_initial
    y, grad_u, grad_dt, grad_B, grad_C = (_join(o, u.shape[1]) for o in outputs)
    return y, grad_u, grad_dt, grad_A, grad_B, grad_C, grad_initial.clone()


def _some_backward(
    parts: list[Tensor], outputs: list[Tensor], A: Tensor, start: Tensor, end: Tensor
) -> tuple[Tensor, Tensor]:
    """Write y and the gradients of u, dt, B, C of some chunks; return those of A and of the initial states."""
    grad, u, dt, B_, C_ = parts
    y, grad_u, grad_dt, grad_B, grad_C = outputs
    C = grad.shape[0]
    states = start.new_empty(C + 1, *start.shape)
    states[0] = start
    for r in range(C):
        torch.mul(states[r], _decay(dt[r], A), out=states[r + 1])
        states[r + 1].addcmul_(u[r][..., None], B_[r][:, :, None])
    g = end.clone()  # gradient of the state after step r
    weighted = torch.zeros_like(g)  # gradient of dt A, times dt, summed over the steps
    for r in reversed(range(C)):
        g.addcmul_(grad[r][..., None], C_[r][:, :, None])
        y[r] = (states[r + 1] @ C_[r][..., None]).squeeze(3)
        grad_C[r] = (grad[r][:, :, None] @ states[r + 1]).squeeze(2)
        grad_B[r] = (u[r][:, :, None] @ g).squeeze(2)
        grad_u[r] = (g @ B_[r][..., None]).squeeze(3)
        g.mul_(_decay(dt[r], A))
        exponent = torch.mul(states[r], g, out=states[r + 1])
        grad_dt[r] = (exponent * A).sum(-1)
        weighted.addcmul_(exponent, dt[r][..., None])
    return weighted.sum((0, 1)), g
