"""The delta rule: a state that is corrected towards each new value instead of only added to.

With P = exp(d_t) S_{t-1}:  S_t = P + beta_t k_t (v_t - k_t^T P)^T,  y_t = q_t^T S_t.
(DeltaNet, arXiv 2406.06484; with a decay, Gated DeltaNet, arXiv 2412.06464, eq. 10. Their S is our S^T.)

Inside a chunk that starts from S_0, with G_t the sum of its log decays up to t, every update is k_t u_t^T where
the u_t solve a unit lower-triangular system: u_t + sum_{s<t} beta_t exp(G_t - G_s) (k_t^T k_s) u_s =
beta_t (v_t - exp(G_t) k_t^T S_0). It is solved for all chunks at once, for both terms on the right, which
leaves S_end = M S_0 + N for each chunk: a recurrence over matrices, run by groups as in
:mod:`anyformer.ops.scan`. (The WY form of arXiv 2406.06484, section 3.2.)
On the CPU the native kernel solves the same systems for 16 tokens at a time, along each head, with the state in cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import ALONG_TIME, native_path, primitive
from anyformer.ops._eager import gradients_again
from anyformer.ops._layout import dense, room, rows
from anyformer.ops.linear_attention import KEEP, in_chunks, needs_grad, sizes, takes_kernels, widened
from anyformer.precision import log_decays, no_autocast

CHUNK = 64
RADIX = 16


def delta_rule_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    *,
    log_decay: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The loop; see :func:`delta_rule`."""
    q, k, v, beta, d, S, dtype = _prepare(q, k, v, beta, log_decay, initial)
    outputs = []
    for t in range(q.shape[2]):
        S = S if d is None else d[:, :, t].exp()[..., None] * S
        error = v[:, :, t] - torch.einsum("bhk,bhkv->bhv", k[:, :, t], S)
        S = S + beta[:, :, t, :, None] * k[:, :, t, :, None] * error[:, :, None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], S))
    return (torch.stack(outputs, 2) if outputs else v).to(dtype), S


def delta_rule_flops(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    *,
    log_decay: Tensor | None = None,
    initial: Tensor | None = None,
) -> int:
    """The chunked form: two score matrices, a triangular solve, M and N, the state's pass, the outputs."""
    B, H, T, K = q.shape
    V = v.shape[-1]
    if T == 1:
        return 2 * B * H * 3 * K * V
    C = min(CHUNK, T)
    inside = 2 * C * K + C * (K + V) // 2 + C * V
    states = K * (K + V) + (K * K * (K + 2 * V) // C if T > CHUNK else 0)
    return 2 * B * H * T * (inside + states + 2 * K * V)


@primitive(
    "delta_rule",
    definition=delta_rule_definition,
    flops=delta_rule_flops,
    path=native_path("chunks", "the WY form in chunks, as batched matrix products in PyTorch"),
    spread=ALONG_TIME,
)
def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    *,
    log_decay: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Linear attention that overwrites: P = exp(d_t) S_{t-1}, S_t = P + beta_t k_t (v_t - k_t^T P)^T, y_t = q_t^T S_t.

    Args:
        q, k: (B, H, T, K); keys are usually normalised, and beta in [0, 1], which keeps the state bounded.
        v: (B, H, T, V).
        beta: how far the state moves towards the new value, (B, H, T).
        log_decay: d, at most zero, (B, H, T); None for no decay. A token with k = v = d = 0 changes nothing.
        initial: the state before the first token, (B, H, K, V).

    Returns:
        y (B, H, T, V) in the dtype of v, and the state after the last token in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(q):
        q, k, v, beta, d, S, dtype = _prepare(q, k, v, beta, log_decay, initial)
        T = q.shape[2]
        if T == 0:
            y = v
        elif takes_kernels(q, k, v, beta, d, S):
            y, S = _native(q, k, v, beta, d, S)
        else:
            y, S = _in_pytorch(q, k, v, beta, d, S)
        return y.to(dtype), S


def _prepare(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, initial: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, torch.dtype]:
    """Check and widen; beta and the decay become (B, H, T, 1)."""
    dtype = v.dtype
    q, k, v, S = widened(q, k, v, initial)
    B, H, T, _ = q.shape
    for name, x in (("beta", beta), ("log_decay", log_decay)):
        if x is not None and x.shape != (B, H, T):
            raise ValueError(f"{name} must have shape ({B}, {H}, {T}), got {tuple(x.shape)}")
    d = None if log_decay is None else log_decay[..., None].to(q.dtype)
    return q, k, v, beta[..., None].to(q.dtype), d, S, dtype


def _in_pytorch(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor]:
    if q.shape[2] > 1:
        return _chunked(q, k, v, beta, d, S)
    S = S if d is None else d.exp() * S
    S = S + (beta * k).mT * (v - k @ S)
    return q @ S, S


def _chunked(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor]:
    """All chunks at once: n of them, C tokens each."""
    B, H, T, K = q.shape
    C = min(CHUNK, T)
    q, k, v, beta = (in_chunks(x, C) for x in (q, k, v, beta))
    parts = chunk_parts(q, k, v, beta, None if d is None else in_chunks(d, C))
    S_all = carry(parts.transition, parts.written, S)
    before = torch.cat((S[:, :, None], S_all[:, :, :-1]), 2)
    y = parts.scores @ parts.values + parts.reads @ before
    return y.flatten(2, 3)[:, :, :T], S_all[:, :, -1]


class Chunks(NamedTuple):
    """What a chunk makes of the state S before it: y = scores @ values + reads @ S, then transition @ S + written."""

    scores: Tensor  # (B, H, n, C, C), lower triangular
    values: Tensor  # (B, H, n, C, V), the corrected ones
    reads: Tensor  # (B, H, n, C, K)
    transition: Tensor  # (B, H, n, K, K)
    written: Tensor  # (B, H, n, K, V)


def chunk_parts(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None) -> Chunks:
    """Of chunks (B, H, n, C, ...), each alone."""
    C, K = q.shape[-2:]
    later = torch.ones(C, C, dtype=torch.bool, device=q.device).triu(1)
    scores, overlap, total = q @ k.mT, k @ k.mT, None
    q_start, k_start, k_end = q, k, k  # decayed from the chunk's start, and to its end
    if d is None:
        scores = scores.masked_fill(later, 0.0)
    else:
        G = log_decays(d).cumsum(3)
        weight = (G - G.mT).masked_fill(later, -torch.inf).to(q.dtype).exp()
        scores, overlap = scores * weight, overlap * weight
        G_end = G[:, :, :, -1:]
        start, end, total = (x.to(q.dtype).exp() for x in (G, G_end - G, G_end))
        q_start, k_start, k_end = q * start, k * start, k * end
    # solve_triangular takes the diagonal as ones and never reads above it
    solved = torch.linalg.solve_triangular(
        beta * overlap, beta * torch.cat((v, k_start), -1), upper=False, unitriangular=True
    )
    u, w = solved.split((v.shape[-1], K), -1)
    written, erased = (k_end.mT @ solved).split((v.shape[-1], K), -1)
    eye = torch.eye(K, dtype=q.dtype, device=q.device)
    transition = (eye if total is None else total * eye) - erased
    return Chunks(scores, u, q_start - scores @ w, transition, written)


def carry(M: Tensor, N: Tensor, S: Tensor) -> Tensor:
    """S_c = M_c S_{c-1} + N_c over the third axis, by groups of RADIX as in the scan; all states."""
    n = N.shape[2]
    if n <= 2 * RADIX:
        states = []
        for c in range(n):
            S = N[:, :, c] + M[:, :, c] @ S
            states.append(S)
        return torch.stack(states, 2)
    groups, rest = divmod(n, RADIX)
    body = n - rest
    Ms, Ns = (x[:, :, :body].unflatten(2, (groups, RADIX)) for x in (M, N))
    total_M, total_N = Ms[:, :, :, 0], Ns[:, :, :, 0]
    for r in range(1, RADIX):
        total_M, total_N = Ms[:, :, :, r] @ total_M, Ns[:, :, :, r] + Ms[:, :, :, r] @ total_N
    ends = carry(total_M, total_N, S)
    state = torch.cat((S[:, :, None], ends[:, :, :-1]), 2)
    states = []
    for r in range(RADIX):
        state = Ns[:, :, :, r] + Ms[:, :, :, r] @ state
        states.append(state)
    inside = torch.stack(states, 3).flatten(2, 3)
    if not rest:
        return inside
    return torch.cat((inside, carry(M[:, :, body:], N[:, :, body:], inside[:, :, -1])), 2)


def _outputs(q: Tensor, v: Tensor, S: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the state after the last token, states kept for the backward, what the state held for each key."""
    B, H, T, _ = q.shape
    kept = S.new_empty(B, H, (T - 1) // KEEP, *S.shape[2:])
    return room(v), torch.empty_like(S, memory_format=torch.contiguous_format), kept, v.new_empty(v.shape)


def _native(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor]:
    inputs = (q, k, v, beta, d, S)
    if needs_grad(*inputs):
        return _forward(*inputs)[:2]
    y, final = room(v), torch.empty_like(S, memory_format=torch.contiguous_format)
    _run_forward(*inputs, y, final, None, v.new_empty(v.shape) if v.shape[2] == 1 else None)
    return y, final


def _run_forward(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor, *outputs: Tensor | None
) -> None:
    q, k, v, beta, d = rows(q), rows(k), rows(v), rows(beta), rows(d)
    layout = sizes(q, v, d, False, q, k, v, outputs[0], beta, d)
    kernels.run("delta_rule", q, k, v, beta, d, dense(S), *outputs, layout)


@torch.library.custom_op("anyformer::delta_rule", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    outputs = _outputs(q, v, S)
    _run_forward(q, k, v, beta, d, S, *outputs)
    return outputs


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _outputs(q, v, S)


@torch.library.custom_op("anyformer::delta_rule_backward", mutates_args=())
def _backward_op(
    grad: Tensor,
    grad_final: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    d: Tensor | None,
    S: Tensor,
    kept: Tensor,
    held: Tensor,
    wants_decay: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grads = _gradients(q, k, v, beta, S, wants_decay)
    q, k, v, beta, d, grad = rows(q), rows(k), rows(v), rows(beta), rows(d), rows(grad)
    inputs = (q, k, v, beta, d, dense(S), dense(kept), dense(held))
    coming = (grad, dense(grad_final))
    going = (*grads[:4], grads[4] if wants_decay else None, grads[5])
    layout = sizes(q, v, d, False, q, k, v, None, beta, d, grad, *grads[:3])
    kernels.run("delta_rule_backward", *inputs, *coming, *going, layout)
    return grads


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, S: Tensor, wants_decay: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_d = beta.new_empty(beta.shape if wants_decay else 0)
    return (
        room(q),
        room(k),
        room(v),
        beta.new_empty(beta.shape),
        grad_d,
        torch.empty_like(S, memory_format=torch.contiguous_format),
    )


@_backward_op.register_fake
def _(
    grad: Tensor,
    grad_final: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    d: Tensor | None,
    S: Tensor,
    kept: Tensor,
    held: Tensor,
    wants_decay: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _gradients(q, k, v, beta, S, wants_decay)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, *output[2:])
    ctx.shape = output[0].shape


def _backward(ctx: Any, grad: Tensor | None, grad_final: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    if torch.is_grad_enabled():
        return tuple(gradients_again(_in_pytorch, saved[:6], ctx.needs_input_grad, grad, grad_final))
    grad = saved[2].new_zeros(ctx.shape) if grad is None else grad
    wants_decay = ctx.needs_input_grad[4]
    grads = _backward_op(grad, grad_final, *saved, wants_decay)
    return *grads[:4], grads[4] if wants_decay else None, grads[5]


_forward.register_autograd(_backward, setup_context=_save)
