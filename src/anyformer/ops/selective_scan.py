"""The recurrence of Mamba: h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + skip x_t.

(S6, arXiv 2312.00752, algorithm 2; our K is its state size N.) Each channel has K states with decays of their
own, so that the states of all tokens, (B, T, D, K), would be K times larger than anything else in a model.

The fast form never holds them. Chunks of C tokens advance side by side, one token of every chunk at a time:
once from zero, which gives the state that each chunk adds, then, after a short pass over the chunks, from the
states that they start from. Only those, one state a chunk, are kept for the backward, which computes the
states of a few chunks at a time again. All exponents are dt A, sums of them at most: nothing overflows.
On the CPU the native kernel runs the loop itself, on as many channels at once as its vectors hold, and keeps as much.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, silu, softplus

from anyformer import kernels
from anyformer.kernels import cuda
from anyformer.ops._base import native_path, primitive
from anyformer.ops._eager import gradients_again
from anyformer.ops._layout import dense, rows
from anyformer.ops.scan import scan
from anyformer.precision import common, no_autocast

ENOUGH = 1 << 13  # elements of state that keep a kernel busy
RECOMPUTED = 1 << 22  # elements of state that the backward holds at once
LANES = 256  # bytes of neighbouring channels that the kernels take at once


def selective_scan_definition(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None = None,
    *,
    initial: Tensor | None = None,
    gate: Tensor | None = None,
    dt_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """The loop; see :func:`selective_scan`."""
    x, dt, A, B_, C_, skip, h, gate, dtype = _prepare(x, dt, A, B_, C_, skip, initial, gate)
    dt = softplus(dt) if dt_softplus else dt
    outputs = []
    for t in range(x.shape[-1]):
        step = dt[:, :, t, None]
        h = (step * A).exp() * h + step * B_[:, None, :, t] * x[:, :, t, None]
        outputs.append((h * C_[:, None, :, t]).sum(-1))
    y = torch.stack(outputs, -1) if outputs else x
    y = y if skip is None else y + skip[:, None] * x
    return (y if gate is None else y * silu(gate)).to(dtype), h


def selective_scan_flops(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None = None,
    *,
    initial: Tensor | None = None,
    gate: Tensor | None = None,
    dt_softplus: bool = False,
) -> int:
    """Nine operations a state and token (two exponents, two steps, one product), five where T is one chunk."""
    K, T = A.shape[1], x.shape[-1]
    around = 3 + 5 * (gate is not None) + 4 * dt_softplus
    return x.numel() * ((9 if _chunk(T, len(x) * A.numel()) < T else 5) * K + around)


@primitive(
    "selective_scan",
    definition=selective_scan_definition,
    flops=selective_scan_flops,
    path=native_path("chunks", "chunks side by side in PyTorch, recomputed in the backward", on_cuda=True),
)
def selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None = None,
    *,
    initial: Tensor | None = None,
    gate: Tensor | None = None,
    dt_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + skip x_t, for every channel; gated if asked.

    Args:
        x: (B, D, T).
        dt: step sizes, at least zero unless ``dt_softplus`` makes them so, (B, D, T). A token with x = dt = 0 leaves
            the state as it is.
        A: (D, K), negative.
        B_, C_: (B, K, T).
        skip: (D,).
        initial: the state before the first token, (B, D, K).
        gate: y is multiplied by silu of it, (B, D, T).
        dt_softplus: whether softplus is to be applied to ``dt``, which may then be anything; where it is minus
            infinity the step is zero.

    Returns:
        y (B, D, T) in the dtype of x, and the state after the last token (B, D, K) in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(x):
        x, dt, A, B_, C_, skip, h, gate, dtype = _prepare(x, dt, A, B_, C_, skip, initial, gate)
        if x.shape[-1] == 0:
            return x.to(dtype), h
        # time before width, as in memory around a mixer
        parts = (x.mT, dt.mT, A, B_.mT, C_.mT, skip, h, None if gate is None else gate.mT)
        keep = torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parts)
        y, h, _ = _scan(*parts, dt_softplus, keep)
        return y.mT.to(dtype), h


def _prepare(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    initial: Tensor | None,
    gate: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor | None, torch.dtype]:
    if x.dim() != 3 or dt.shape != x.shape:
        raise ValueError(
            f"x and dt must share one shape (B, D, T), got {tuple(x.shape)} and {tuple(dt.shape)}"
        )
    B, D, T = x.shape
    if A.dim() != 2 or A.shape[0] != D:
        raise ValueError(f"A must have shape ({D}, K), got {tuple(A.shape)}")
    K = A.shape[1]
    for name, value, shape in (
        ("B_", B_, (B, K, T)),
        ("C_", C_, (B, K, T)),
        ("skip", skip, (D,)),
        ("initial", initial, (B, D, K)),
        ("gate", gate, (B, D, T)),
    ):
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    dtype, float_ = x.dtype, common(x, A)
    x, dt, A, B_, C_ = (value.to(float_) for value in (x, dt, A, B_, C_))
    skip, gate = (None if value is None else value.to(float_) for value in (skip, gate))
    initial = x.new_zeros(B, D, K) if initial is None else initial.to(float_)
    return x, dt, A, B_, C_, skip, initial, gate, dtype


def _chunk(T: int, state: int) -> int:
    """Tokens a chunk: all of few, where one state keeps a kernel busy, else so few that the native backward holds
    what belongs to them in the first cache."""
    if T <= 64 and state >= ENOUGH:
        return T
    longest = 16 if T <= 512 else 32
    return -(-T // -(-T // longest))  # equal chunks


def _split(x: Tensor, C: int) -> Tensor:
    """(B, T, W) to (C, B, n, W): place in the chunk first. The padding has x = dt = 0 and changes nothing."""
    n = -(-x.shape[1] // C)
    return pad(x, (0, 0, 0, n * C - x.shape[1])).unflatten(1, (n, C)).permute(2, 0, 1, 3).contiguous()


def _join(x: Tensor, T: int) -> Tensor:
    """The inverse of :func:`_split`."""
    return x.permute(1, 2, 0, 3).flatten(1, 2)[:, :T].contiguous()


def _decay(dt: Tensor, A: Tensor) -> Tensor:
    return (dt[..., None] * A).exp_()


def _advance(h: Tensor, decay: Tensor, u: Tensor, B_: Tensor) -> Tensor:
    """One step of h (B, n, D, K), in place."""
    return h.mul_(decay).addcmul_(u[..., None], B_[:, :, None])


def _starts(dt: Tensor, u: Tensor, A: Tensor, B_: Tensor, initial: Tensor) -> Tensor:
    """The state that each chunk starts from, (B, n, D, K)."""
    C, B, n, D = dt.shape
    if n == 1:
        return initial[:, None]
    added = dt.new_zeros(B, n, *A.shape)
    for r in range(C):
        _advance(added, _decay(dt[r], A), u[r], B_[r])
    whole = _decay(dt.sum(0), A)
    after, _ = scan(whole.flatten(2), added.flatten(2), initial.flatten(1))
    return torch.cat((initial[:, None], after.unflatten(2, A.shape)[:, :-1]), 1)


def _rows(*tensors: Tensor | None) -> tuple[list[Tensor | None], list[int]]:
    """Tensors (B, T, W) with each row in one piece, and their strides over B and T."""
    laid = [rows(x) for x in tensors]
    return laid, [n for x in laid for n in ((0, 0) if x is None else x.stride()[:2])]


@torch.library.custom_op("anyformer::selective_scan", mutates_args=())
def _scan(
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
    """y (B, T, D), the last state, and the states that chunks start from, empty unless to be kept: (B, n, D, K),
    (B, n, D * K) in an order that the native kernels know, or (B, n, 1, D, K) of Triton's chunks."""
    B, T, D = x.shape
    C = _chunk(T, initial.numel())
    if not kernels.ready(x, dt, A, B_, C_, skip, initial, gate):
        return _scan_chunks(x, dt, A, B_, C_, skip, initial, gate, dt_softplus, keep, C)
    y, final = x.new_empty(x.shape), torch.empty_like(initial, memory_format=torch.contiguous_format)
    starts = x.new_empty(B, -(-T // C), A.numel()) if keep else x.new_empty(0)
    laid, strides = _rows(B_, C_, gate)
    inputs = (dense(x), dense(dt), dense(A), *laid[:2], dense(skip), dense(initial), laid[2])
    sizes = (B, T, D, A.shape[1], *strides, C, dt_softplus)
    kernels.run("selective_scan", *inputs, y, final, starts if keep else None, *sizes)
    return y, final, starts


@_scan.register_fake
def _(
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
    B, T, D = x.shape
    native = kernels.ready(x, dt, A, B_, C_, skip, initial, gate)
    shape = (B, -(-T // _chunk(T, initial.numel())), *((A.numel(),) if native else A.shape))
    if T > 1 and cuda.ready(x, dt, A, B_, C_, initial):
        shape = (B, -(-T // cuda.CHUNK), 1, *A.shape)
    starts = x.new_empty(shape) if keep else x.new_empty(0)
    return x.new_empty(x.shape), initial.new_empty(initial.shape), starts


def _scan_chunks(
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
    C: int,
) -> tuple[Tensor, Tensor, Tensor]:
    dt = softplus(dt) if dt_softplus else dt
    if x.shape[1] == 1:  # a step of a stream
        h = torch.addcmul((dt.mT * A).exp_().mul_(initial), (dt * x).mT, B_)
        joined, starts = (h @ C_.mT).mT, initial[:, None]
        return _finish(joined, x, skip, gate), h, starts.clone() if keep else x.new_empty(0)
    if cuda.ready(x, dt, A, B_, C_, initial):
        from anyformer.kernels.cuda import selective_scan as triton

        y, last, starts = triton.forward(dt * x, dt, A, B_, C_, initial, keep)
        return _finish(y, x, skip, gate), last, starts[:, :, None] if keep else starts
    A = A.clamp_min(torch.finfo(A.dtype).min)  # a step of zero times minus infinity is NaN
    parts = [_split(value, C) for value in (dt * x, dt, B_, C_)]
    starts = _starts(parts[1], parts[0], A, parts[2], initial)
    h = starts.clone()
    y = torch.empty_like(parts[0])
    for r, (u, dt_r, B_r, C_r) in enumerate(zip(*parts)):
        _advance(h, _decay(dt_r, A), u, B_r)
        torch.matmul(h, C_r[..., None], out=y[r][..., None])
    joined = _finish(_join(y, x.shape[1]), x, skip, gate)
    return joined, h[:, -1].clone(), starts.clone() if keep else x.new_empty(0)


def _in_pytorch(
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
    """With the states of all tokens at once, K times larger than x: for those who differentiate it twice."""
    dt = softplus(dt) if dt_softplus else dt
    decay, added = (dt[..., None] * A).exp(), (dt * x)[..., None] * B_[:, :, None]
    states, last = scan(decay.flatten(2), added.flatten(2), initial.flatten(1))
    y = (states.unflatten(2, A.shape) @ C_[..., None])[..., 0]
    y = y if skip is None else y + skip * x
    return y if gate is None else y * silu(gate), last.unflatten(1, A.shape)


def _finish(y: Tensor, x: Tensor, skip: Tensor | None, gate: Tensor | None) -> Tensor:
    """Add the skipping part and gate, in place."""
    y = y if skip is None else y.addcmul_(skip, x)
    return y if gate is None else y.mul_(silu(gate))


def _adjoint_ends(dt: Tensor, A: Tensor, C_: Tensor, grad: Tensor, grad_final: Tensor) -> Tensor:
    """The gradient that reaches the state at each chunk's end from later chunks, (B, n, D, K)."""
    C, B, n, D = dt.shape
    if n == 1:
        return grad_final[:, None]
    added = dt.new_zeros(B, n, *A.shape)
    for r in reversed(range(C)):
        added.addcmul_(grad[r][..., None], C_[r][:, :, None]).mul_(_decay(dt[r], A))
    whole = _decay(dt.sum(0), A)
    before, _ = scan(whole.flatten(2), added.flatten(2), grad_final.flatten(1), reverse=True)
    return torch.cat((before.unflatten(2, A.shape)[:, 1:], grad_final[:, None]), 1)


@torch.library.custom_op("anyformer::selective_scan_backward", mutates_args=())
def _scan_backward(
    grad: Tensor,
    grad_final: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    starts: Tensor,
    dt_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, dt, A, B_, C_, skip, the initial state and gate; skip's and gate's are empty without."""
    B, T, D = x.shape
    K = A.shape[1]
    C = _chunk(T, grad_final.numel())
    if starts.dim() > 3:
        return _chunks_backward(grad, grad_final, x, dt, A, B_, C_, skip, gate, starts, dt_softplus, C)
    lanes = LANES // x.element_size()
    width = lanes * max(1, min(8, B * D // (lanes * torch.get_num_threads())))  # channels of one task
    laid, strides = _rows(B_, C_, gate)
    grad_x, grad_dt, grad_initial = x.new_empty(x.shape), x.new_empty(x.shape), x.new_empty(B, D, K)
    grad_A, grad_skip = x.new_empty(B, D, K), x.new_empty((0,) if skip is None else (B, D))
    grad_B, grad_C = x.new_empty(2, -(-D // width), B, T, K)
    grad_gate = x.new_empty(0 if gate is None else x.shape)
    whole = (dense(value) for value in (grad, grad_final, x, dt, A))
    values = (*whole, *laid[:2], dense(skip), laid[2], dense(starts))
    outputs = (grad_x, grad_dt, grad_A, grad_B, grad_C, grad_skip, grad_initial, grad_gate)
    sizes = (B, T, D, K, *strides, C, dt_softplus, width)
    kernels.run("selective_scan_backward", *values, *outputs, *sizes)
    sums = grad_A.sum(0), grad_B.sum(0), grad_C.sum(0), grad_skip.sum(0)
    return grad_x, grad_dt, *sums, grad_initial, grad_gate


@_scan_backward.register_fake
def _(
    grad: Tensor,
    grad_final: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    starts: Tensor,
    dt_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    gx, gdt, gA, gB, gC, gh = (value.new_empty(value.shape) for value in (x, dt, A, B_, C_, grad_final))
    grad_gate = x.new_empty(0 if gate is None else x.shape)
    return gx, gdt, gA, gB, gC, x.new_empty(() if skip is None else skip.shape), gh, grad_gate


def _chunks_backward(
    grad: Tensor,
    grad_final: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    starts: Tensor,
    dt_softplus: bool,
    C: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    raw = dt
    dt, gated = softplus(dt) if dt_softplus else dt, grad
    grad = grad if gate is None else grad * silu(gate)
    if starts.dim() == 5:
        from anyformer.kernels.cuda import selective_scan as triton

        found = triton.backward(grad, grad_final, dt * x, dt, A, B_, C_, starts[:, :, 0])
    else:
        found = _recurrence_backward(grad, grad_final, dt * x, dt, A, B_, C_, starts, C)
    y, grad_u, grad_dt, grad_A, grad_B, grad_C, grad_initial = found
    grad_x, grad_dt = grad_u * dt, grad_dt.addcmul_(grad_u, x)
    grad_dt = grad_dt.mul_(raw.sigmoid()) if dt_softplus else grad_dt
    if skip is not None:
        grad_x.addcmul_(skip, grad)
    grad_skip = x.new_zeros(()) if skip is None else (grad * x).sum((0, 1))
    grad_gate = x.new_empty(0)
    if gate is not None:
        grad_gate = torch.ops.aten.silu_backward(gated * _finish(y, x, skip, None), gate)
    return grad_x, grad_dt, grad_A, grad_B, grad_C, grad_skip, grad_initial, grad_gate


def _recurrence_backward(
    grad: Tensor,
    grad_final: Tensor,
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    starts: Tensor,
    C: int,
) -> tuple[Tensor, ...]:
    """y before skip and gate, and the gradients of u = dt x, dt, A, B_, C_ and the initial state."""
    parts = [_split(value, C) for value in (grad, u, dt, B_, C_)]
    ends = _adjoint_ends(parts[2], A, parts[4], parts[0], grad_final)
    outputs = [torch.empty_like(part) for part in parts]  # the first is that of y before skip and gate
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
    """Write y and the gradients of u, dt, B, C of some chunks; return A's, and that of the states they start from."""
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


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.dt_softplus, _ = inputs
    ctx.save_for_backward(*tensors, output[2])


def _backward(ctx: Any, grad: Tensor, grad_final: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, skip, initial, gate, starts = ctx.saved_tensors
    if torch.is_grad_enabled():
        formula, given = partial(_in_pytorch, dt_softplus=ctx.dt_softplus), (*tensors, skip, initial, gate)
        return *gradients_again(formula, given, ctx.needs_input_grad[:8], grad, grad_final), None, None
    grads = _scan_backward(grad, grad_final, *tensors, skip, gate, starts, ctx.dt_softplus)
    *grads, grad_skip, grad_initial, grad_gate = grads
    optional = None if skip is None else grad_skip, grad_initial, None if gate is None else grad_gate
    return *grads, *optional, None, None


_scan.register_autograd(_backward, setup_context=_save)
