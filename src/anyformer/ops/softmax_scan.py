"""Softmax averages over all prefixes of a sequence, by a scan: attention with one fixed query, streamed.

y_t = sum_{s <= t} w_ts v_s / sum_{s <= t} w_ts,  w_ts = exp(score_s + sum of log decays after s up to t).
Aaren (arXiv 2405.13956, section 3.2) is the case without decay; RWKV's wkv (arXiv 2305.13048, eq. 16) has
scores and decays for each channel, and a bonus for the current token.

The state is (m, u, w): u and w, the sums above and below, are kept divided by exp(m), m being the largest
exponent so far. m carries no gradient: it cancels in everything that is computed from a state.

On the CPU the native kernel runs the loop itself and keeps the state at the start of each chunk of steps only; the
backward recomputes the others chunk by chunk. In PyTorch a running maximum and two scans find all states at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import native_path, primitive
from anyformer.ops._eager import gradients_again
from anyformer.ops._layout import dense, room_by_time, rows
from anyformer.ops.scan import scan
from anyformer.precision import FORGETS, common

CHUNK = 32  # as in the native kernel


class SoftmaxState(NamedTuple):
    """Largest exponent m (B, H, W), weighted sum u (B, H, V), weight w (B, H, W); W is 1, or V per channel."""

    m: Tensor
    u: Tensor
    w: Tensor


def softmax_scan_definition(
    scores: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    bonus: Tensor | None = None,
    initial: SoftmaxState | None = None,
) -> tuple[Tensor, SoftmaxState]:
    """The loop; see :func:`softmax_scan`."""
    dtype = v.dtype
    scores, v, d, bonus, (m, u, w) = _prepare(scores, v, log_decay, bonus, initial)
    d = torch.zeros_like(scores) if d is None else d.expand_as(scores)
    outputs = []
    for t in range(v.shape[2]):
        score, value, decay = scores[:, :, t], v[:, :, t], d[:, :, t]
        if bonus is not None:
            read = _read(m, decay, u, w, score + bonus, value)
        top = torch.maximum(m + decay, score).detach()
        old, new = _weights(m, decay, score, top)
        m, u, w = top, old * u + new * value, old * w + new
        outputs.append(u / _nonzero(w) if bonus is None else read)
    return (torch.stack(outputs, 2) if outputs else v).to(dtype), SoftmaxState(m, u, w)


def softmax_scan_flops(
    scores: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    bonus: Tensor | None = None,
    initial: SoftmaxState | None = None,
) -> int:
    """The scan of u and w, the two exponentials and the division (and as much again to read with a bonus)."""
    each = 5 * (v.numel() + scores.numel()) + 4 * scores.numel() + v.numel()
    return each + (0 if bonus is None else 6 * v.numel() + 4 * scores.numel())


@primitive(
    "softmax_scan",
    definition=softmax_scan_definition,
    flops=softmax_scan_flops,
    path=native_path("groups", "a running maximum and two scans in PyTorch"),
)
def softmax_scan(
    scores: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    bonus: Tensor | None = None,
    initial: SoftmaxState | None = None,
) -> tuple[Tensor, SoftmaxState]:
    """Softmax-weighted averages of all prefixes.

    Args:
        scores: (B, H, T), or (B, H, T, V) for weights of each channel; -inf leaves a token out (with a decay
            of zero it then changes nothing).
        v: (B, H, T, V).
        log_decay: at most zero: (H,) or (B, H, T), per channel (H, V) or (B, H, T, V); None for no decay.
        bonus: added to the score of the current token in what is read, not in what is kept: (H,) or (H, V).
        initial: state before the first token; a state whose m is -inf is empty.

    Returns:
        y (B, H, T, V) in the dtype of v, zero where nothing has been seen, and the state after the last
        token in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    dtype = v.dtype
    scores, v, d, bonus, state = _prepare(scores, v, log_decay, bonus, initial)
    if v.shape[2] == 0:
        return v.to(dtype), state
    y, m, u, w, _ = _softmax_scan(scores, v, d, bonus, *state)
    return y.to(dtype), SoftmaxState(m, u, w)


def _running_max(scores: Tensor, d: Tensor | None, m0: Tensor) -> Tensor:
    """m_t = max(m_{t-1} + d_t, score_t), all at once. Rounding does no harm: see _weights."""
    m0 = m0.unsqueeze(2)
    if d is None:
        return torch.maximum(m0, scores.cummax(2).values)
    G = d.clamp_min(FORGETS).expand_as(scores).cumsum(2)
    return G + torch.maximum(m0, (scores - G).cummax(2).values)


def _weights(m: Tensor, decay: Tensor | float, score: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """exp(m + decay - top) and exp(score - top), zero where nothing has been seen.

    The large numbers m and top are subtracted first, which is exact when they are near each other: so the
    decays keep their accuracy, and top need only be close to the true maximum.
    """
    top = torch.where(top == -torch.inf, 0.0, top)
    return (m - top + decay).exp(), (score - top).exp()


def _read(m: Tensor, decay: Tensor | float, u: Tensor, w: Tensor, score: Tensor, v: Tensor) -> Tensor:
    """The average over a decayed state and one more token."""
    old, new = _weights(m, decay, score, torch.maximum(m + decay, score).detach())
    return (old * u + new * v) / _nonzero(old * w + new)


def _nonzero(w: Tensor) -> Tensor:
    return torch.where(w == 0, 1.0, w)


def _prepare(
    scores: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    initial: SoftmaxState | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, SoftmaxState]:
    """Check and widen; scores become (B, H, T, W), decays too or (1, H, 1, W), the bonus (H, W), W being 1 or V."""
    if v.dim() != 4 or scores.shape not in (v.shape, v.shape[:3]):
        raise ValueError(
            f"v must have shape (B, H, T, V) and scores (B, H, T) or that of v, "
            f"got {tuple(v.shape)} and {tuple(scores.shape)}"
        )
    B, H, T, V = v.shape
    float_ = common(scores, v)
    scores = (scores if scores.dim() == 4 else scores.unsqueeze(-1)).to(float_)
    W = scores.shape[-1]
    d = log_decay
    if d is not None:
        if d.shape not in ((H,), (H, W), (B, H, T), (B, H, T, W)):
            raise ValueError(
                f"log_decay must have shape ({H},), ({B}, {H}, {T}), or per channel (as the scores are) "
                f"({H}, {W}) or ({B}, {H}, {T}, {W}), got {tuple(d.shape)}"
            )
        d = d.unsqueeze(-1) if d.dim() in (1, 3) else d
        d = (d[None, :, None] if d.dim() == 2 else d).to(float_)
        d = d.expand(*d.shape[:3], W)
    if bonus is not None:
        if bonus.shape not in ((H,), (H, W)):
            raise ValueError(f"bonus must have shape ({H},) or ({H}, {W}), got {tuple(bonus.shape)}")
        bonus = (bonus.unsqueeze(-1) if bonus.dim() == 1 else bonus).to(float_).expand(H, W)
    if initial is None:
        zeros = v.new_zeros(B, H, V, dtype=float_)
        initial = SoftmaxState(torch.full_like(zeros[..., :W], -torch.inf), zeros, zeros[..., :W])
    m, u, w = (x.to(float_) for x in initial)
    for name, x, wanted in (("m", m, (B, H, W)), ("u", u, (B, H, V)), ("w", w, (B, H, W))):
        if x.shape != wanted:
            raise ValueError(f"initial.{name} must have shape {wanted}, got {tuple(x.shape)}")
    return scores, v.to(float_), d, bonus, SoftmaxState(m.detach(), u, w)


# ---- in PyTorch -----------------------------------------------------------------------------------------


def _states(
    scores: Tensor, v: Tensor, d: Tensor | None, state: SoftmaxState
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """m, u and w before the first step, after it, after the second...; and the weights old and new of each step."""
    m0, u0, w0 = state
    m = torch.cat((m0.unsqueeze(2), _running_max(scores, d, m0)), 2).detach()
    old, new = _weights(m[:, :, :-1], 0.0 if d is None else d, scores, m[:, :, 1:])
    u, _ = scan(old, new * v, u0)
    w, _ = scan(old, new, w0)
    u, w = (torch.cat((x0.unsqueeze(2), x), 2) for x0, x in ((u0, u), (w0, w)))
    return m, u, w, old, new


def _forward_in_pytorch(
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    m0: Tensor,
    u0: Tensor,
    w0: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y and the final m, u and w."""
    m, u, w, _, _ = _states(scores, v, d, SoftmaxState(m0, u0, w0))
    if bonus is None:
        y = u[:, :, 1:] / _nonzero(w[:, :, 1:])
    else:
        decay = 0.0 if d is None else d
        y = _read(m[:, :, :-1], decay, u[:, :, :-1], w[:, :, :-1], scores + bonus[:, None], v)
    m, u, w = (x[:, :, -1].clone() for x in (m, u, w))
    return y.contiguous(), m, u, w


def _backward_in_pytorch(
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    state: SoftmaxState,
    grads: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of scores, v, d, bonus, u0 and w0 from those of y and the last u and w.

    The gradients of the states run backwards through the same weights as the states themselves.
    """
    grad, last_u, last_w = grads
    m, u, w, old, new = _states(scores, v, d, state)
    m, u, w = (x[:, :, :-1] for x in (m, u, w))  # before each step
    read_old, read_new = old, new
    if bonus is not None:
        score, decay = scores + bonus[:, None], torch.zeros(()) if d is None else d
        read_old, read_new = _weights(m, decay, score, torch.maximum(m + decay, score))
    total = _nonzero(read_old * w + read_new)
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
    grad_d = v.new_empty(0) if d is None else past.sum_to_size(d.shape).contiguous()
    grad_v = read_new * grad + new * later_u
    return grad_scores.contiguous(), grad_v.contiguous(), grad_d, by_read.sum((0, 2)), grad_u0, grad_w0


# ---- the op ---------------------------------------------------------------------------------------------


def _room(x: Tensor) -> Tensor:
    """For a result of x's shape (B, H, T, N): the kernels lay it out (B, T, H, N), as mixers have it."""
    B, H, T, N = x.shape
    return room_by_time(x, B, H, T, N) if kernels.ready(x) else x.new_empty(x.shape)


def _num_kept(T: int) -> int:
    """Chunks but the first, whose starts the native kernel keeps."""
    return (T - 1) // CHUNK


def _room_for_states(scores: Tensor, v: Tensor) -> Tensor:
    B, H, T, V = v.shape
    return v.new_empty(B, H, _num_kept(T) if kernels.ready(v) else 0, V + 2 * scores.shape[3])


def _steps(x: Tensor) -> Tensor:
    """x (B, H, T, N) with its last axis in one piece; steps must not share storage, as one step only means all."""
    x = rows(x)
    return x if x.stride(2) or x.shape[2] == 1 else x.contiguous()


def _copy(x: Tensor) -> Tensor:
    """x in one piece, to be written into."""
    return x.clone(memory_format=torch.contiguous_format).resolve_neg()


def _layout(scores: Tensor, v: Tensor, d: Tensor | None, *grad: Tensor) -> tuple[int, ...]:
    """B, H, T, V, W and the strides over all but the channels; zero where a decay is shared."""
    B, H, T, V = v.shape
    strides = [stride for x in (scores, v) for stride in x.stride()[:3]]
    if d is None:
        strides += [0, 0, 0]
    else:
        strides += [0 if size == 1 else stride for size, stride in zip(d.shape[:3], d.stride())]
    strides += [stride for x in grad for stride in x.stride()[:3]]
    return (B, H, T, V, scores.shape[3], *strides)


@torch.library.custom_op("anyformer::softmax_scan", mutates_args=())
def _softmax_scan(
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    m0: Tensor,
    u0: Tensor,
    w0: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, the final m, u and w, and the states that the native backward starts chunks from."""
    state = SoftmaxState(m0, u0, w0)
    kept = _room_for_states(scores, v)
    if not kernels.ready(scores, v, d, bonus, *state):
        return *_forward_in_pytorch(scores, v, d, bonus, *state), kept
    m, u, w = (_copy(x) for x in state)
    y = _room(v)
    scores, v, d = _steps(scores), _steps(v), None if d is None else _steps(d)
    kernels.run("softmax_scan", scores, v, d, dense(bonus), m, u, w, y, kept, *_layout(scores, v, d))
    return y, m, u, w, kept


@_softmax_scan.register_fake
def _(
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    m0: Tensor,
    u0: Tensor,
    w0: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    m, u, w = (x.new_empty(x.shape) for x in (m0, u0, w0))
    return _room(v), m, u, w, _room_for_states(scores, v)


@torch.library.custom_op("anyformer::softmax_scan_backward", mutates_args=())
def _softmax_scan_backward(
    grad: Tensor,
    last_u: Tensor,
    last_w: Tensor,
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    m0: Tensor,
    u0: Tensor,
    w0: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of scores, v, d, bonus, u0 and w0; those of what is not there mean nothing."""
    B, H, T, V = v.shape
    state = SoftmaxState(m0, u0, w0)
    if not kernels.ready(grad, scores, v, d, bonus, *state) or kept.shape[2] != _num_kept(T):
        return _backward_in_pytorch(scores, v, d, bonus, state, (grad, last_u, last_w))
    grad, scores, v, d = _steps(grad), _steps(scores), _steps(v), None if d is None else _steps(d)
    grad_scores, grad_v, grad_bonus = _room(scores), _room(v), v.new_zeros(B, H, 1, scores.shape[3])
    grad_d = grad_bonus.new_zeros(grad_bonus.shape) if d is None or d.shape[2] == 1 else _room(scores)
    grad_u, grad_w = _copy(last_u), _copy(last_w)
    grads = grad_scores, grad_v, grad_d, grad_bonus, grad_u, grad_w
    tensors = scores, v, d, dense(bonus), dense(m0), dense(u0), dense(w0), dense(kept), grad, *grads
    kernels.run("softmax_scan_backward", *tensors, *_layout(scores, v, d, grad))
    grad_d = v.new_empty(0) if d is None else grad_d.sum_to_size(d.shape)
    return grad_scores, grad_v, grad_d, grad_bonus.sum((0, 2)), grad_u, grad_w


@_softmax_scan_backward.register_fake
def _(
    grad: Tensor,
    last_u: Tensor,
    last_w: Tensor,
    scores: Tensor,
    v: Tensor,
    d: Tensor | None,
    bonus: Tensor | None,
    m0: Tensor,
    u0: Tensor,
    w0: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_d = v.new_empty(0 if d is None else d.shape)
    grad_bonus, grad_u, grad_w = (v.new_empty(shape) for shape in (w0.shape[1:], u0.shape, w0.shape))
    return _room(scores), _room(v), grad_d, grad_bonus, grad_u, grad_w


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, output[4])
    ctx.mark_non_differentiable(output[1], output[4])


def _backward(
    ctx: Any, grad: Tensor, _: Tensor, last_u: Tensor, last_w: Tensor, __: Tensor
) -> tuple[Any, ...]:
    *given, kept = ctx.saved_tensors
    if torch.is_grad_enabled():
        formula, needed = _forward_in_pytorch, ctx.needs_input_grad
        return tuple(gradients_again(formula, given, needed, grad, None, last_u, last_w))
    grads = _softmax_scan_backward(grad, last_u, last_w, *given, kept)
    scores, v, d, bonus, u0, w0 = (
        g if wanted else None
        for g, wanted in zip(grads, (*ctx.needs_input_grad[:4], *ctx.needs_input_grad[5:]))
    )
    return scores, v, d, bonus, None, u0, w0


_softmax_scan.register_autograd(_backward, setup_context=_save)
