"""All states at once in PyTorch: a running maximum and two scans, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.ops.scan import scan
from anyformer.ops.softmax_scan.definition import SoftmaxState, nonzero, read, weights_of
from anyformer.precision import FORGETS


def _running_max(scores: Tensor, d: Tensor | None, m0: Tensor) -> Tensor:
    """Return m_t = max(m_{t-1} + d_t, score_t) for all t. Rounding is harmless, see :func:`weights_of`."""
    m0 = m0.unsqueeze(2)
    if d is None:
        return torch.maximum(m0, scores.cummax(2).values)
    G = d.clamp_min(FORGETS).expand_as(scores).cumsum(2)
    return G + torch.maximum(m0, (scores - G).cummax(2).values)


def _states(
    scores: Tensor, v: Tensor, d: Tensor | None, state: SoftmaxState
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the T + 1 states m, u and w, and each step's weights of the old state and of the new token."""
    m0, u0, w0 = state
    m = torch.cat((m0.unsqueeze(2), _running_max(scores, d, m0)), 2).detach()
    old, new = weights_of(m[:, :, :-1], 0.0 if d is None else d, scores, m[:, :, 1:])
    u, _ = scan(old, new * v, u0)
    w, _ = scan(old, new, w0)
    u, w = (torch.cat((x0.unsqueeze(2), x), 2) for x0, x in ((u0, u), (w0, w)))
    return m, u, w, old, new


def forward_in_pytorch(
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    m0: Tensor,
    u0: Tensor,
    w0: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return y and the final m, u and w."""
    m, u, w, _, _ = _states(scores, v, d, SoftmaxState(m0, u0, w0))
    if bonus is None:
        y = u[:, :, 1:] / nonzero(w[:, :, 1:])
    else:
        decay = 0.0 if d is None else d
        y = read(m[:, :, :-1], decay, u[:, :, :-1], w[:, :, :-1], scores + bonus[:, None], v)
    m, u, w = (x[:, :, -1].clone() for x in (m, u, w))
    return y.contiguous(), m, u, w


def backward_in_pytorch(
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    state: SoftmaxState,
    grads: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of scores, v, d, bonus, m0 (None), u0 and w0 from those of y and the last u and w.

    The states' gradients are a scan backwards in time with the same weights.
    """
    grad, last_u, last_w = grads
    m, u, w, old, new = _states(scores, v, d, state)
    m, u, w = (x[:, :, :-1] for x in (m, u, w))  # before each step
    read_old, read_new = old, new
    if bonus is not None:
        score, decay = scores + bonus[:, None], torch.zeros(()) if d is None else d
        read_old, read_new = weights_of(m, decay, score, torch.maximum(m + decay, score))
    total = nonzero(read_old * w + read_new)
    read_old, read_new = read_old / total, read_new / total
    y = read_old * u + read_new * v

    def over_weight(x: Tensor) -> Tensor:
        return x if scores.shape[3] == v.shape[3] else x.sum(3, keepdim=True)

    first_u, grad_u0 = scan(old, read_old * grad, last_u, reverse=True)
    first_w, grad_w0 = scan(old, -read_old * over_weight(grad * y), last_w, reverse=True)
    later_u, later_w = (
        torch.cat((x[:, :, 1:], last.unsqueeze(2)), 2) for x, last in ((first_u, last_u), (first_w, last_w))
    )
    by_read = read_new * over_weight(grad * (v - y))
    grad_scores = by_read + new * (over_weight(later_u * v) + later_w)
    past = old * (over_weight(later_u * u) + later_w * w) + read_old * over_weight(grad * (u - w * y))
    grad_d = None if d is None else past.sum_to_size(d.shape).contiguous()
    grad_v = read_new * grad + new * later_u
    grad_bonus = None if bonus is None else by_read.sum((0, 2))
    return grad_scores.contiguous(), grad_v.contiguous(), grad_d, grad_bonus, None, grad_u0, grad_w0
