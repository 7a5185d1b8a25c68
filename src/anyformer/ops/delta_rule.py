"""The delta rule: each token corrects the state towards its value instead of only adding to it.

With P = exp(d_t) S_{t-1}:  S_t = P + beta_t k_t (v_t - k_t^T P)^T,  y_t = q_t^T S_t.
(DeltaNet, arXiv 2406.06484; with a decay, Gated DeltaNet, arXiv 2412.06464, eq. 10. Their S is our S^T.)

Inside a chunk that starts from S_0, with G_t the sum of its log decays up to t, every update is k_t u_t^T where
the u_t solve a unit lower-triangular system: u_t + sum_{s<t} beta_t exp(G_t - G_s) (k_t^T k_s) u_s =
beta_t (v_t - exp(G_t) k_t^T S_0). It is solved for all chunks at once, for both terms on the right. That
gives S_end = M S_0 + N for each chunk, a matrix recurrence, run in groups as in :mod:`anyformer.ops.scan`. (The WY
form of arXiv 2406.06484, section 3.2.)
On the CPU the native kernel solves the same systems for 16 tokens at a time, along each head, with the state in cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths, needs_custom_op
from anyformer.ops._matrix_state import KEEP, carry, chunk_parts, in_chunks, prepare_delta, sizes
from anyformer.ops._memory import dense, empty_dense, empty_rows, rows
from anyformer.precision import no_autocast

CHUNK = 64


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
    q, k, v, beta, d, S, dtype = prepare_delta(q, k, v, beta, log_decay, initial)
    outputs = []
    for t in range(q.shape[2]):
        S = S if d is None else d[:, :, t].exp()[..., None] * S
        error = v[:, :, t] - torch.einsum("bhk,bhkv->bhv", k[:, :, t], S)
        S = S + beta[:, :, t, :, None] * k[:, :, t, :, None] * error[:, :, None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], S))
    return (torch.stack(outputs, 2) if outputs else v).to(dtype), S


def delta_rule_flops(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
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
        q, k, v, beta, d, S, dtype = prepare_delta(q, k, v, beta, log_decay, initial)
        y, S = _PATHS(q, k, v, beta, d, S)
        return y.to(dtype), S


def _in_pytorch(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor]:
    if q.shape[2] == 0:
        return v, S
    if q.shape[2] > 1:
        return _chunked(q, k, v, beta, d, S)
    S = S if d is None else d.exp() * S
    S = S + (beta * k).mT * (v - k @ S)
    return q @ S, S


def _chunked(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor]:
    """Run all n chunks of C tokens at once."""
    B, H, T, K = q.shape
    C = min(CHUNK, T)
    q, k, v, beta = (in_chunks(x, C) for x in (q, k, v, beta))
    parts = chunk_parts(q, k, v, beta, None if d is None else in_chunks(d, C))
    S_all = carry(parts.transition, parts.written, S)
    before = torch.cat((S[:, :, None], S_all[:, :, :-1]), 2)
    y = parts.scores @ parts.values + parts.reads @ before
    return y.flatten(2, 3)[:, :, :T], S_all[:, :, -1]


def _native(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor]:
    inputs = (q, k, v, beta, d, S)
    if needs_custom_op(*inputs):
        y, final, _, _ = _delta_rule(*inputs)
        return y, final
    y, final = empty_rows(v), empty_dense(S)
    _run_forward(*inputs, y, final, None, empty_dense(v) if v.shape[2] == 1 else None)
    return y, final


_PATHS = Paths(
    "delta_rule",
    Path("native", "in C, 16 tokens at a time along each head, the state in cache", _native, kernels.refuses),
    Path("chunks", "the WY form in chunks, as batched matrix products in PyTorch", _in_pytorch),
)


def _outputs(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Allocate y, the last state, the states kept for the backward, and k^T P of each token."""
    B, H, T, _ = q.shape
    return empty_rows(v), empty_dense(S), S.new_empty(B, H, (T - 1) // KEEP, *S.shape[2:]), empty_dense(v)


def _run_forward(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor, *outputs: Tensor | None
) -> None:
    q, k, v, beta, d = rows(q), rows(k), rows(v), rows(beta), rows(d)
    layout = sizes(q, v, d, False, q, k, v, outputs[0], beta, d)
    kernels.run("delta_rule", q, k, v, beta, d, dense(S), *outputs, layout)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    outputs = _outputs(q, k, v, beta, d, S)
    _run_forward(q, k, v, beta, d, S, *outputs)
    return outputs


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    return (
        empty_rows(q),
        empty_rows(k),
        empty_rows(v),
        empty_dense(beta),
        None if d is None else empty_dense(d),
        empty_dense(S),
    )


def _backward(
    coming: list[Tensor | None], kept: list[Tensor], needs: list[bool], *given: Any
) -> tuple[Tensor | None, ...]:
    (q, k, v, beta, d, S), (*grads, grad_d, grad_S) = given, _gradients(*given)
    grad_d = grad_d if needs[4] else None
    grad = torch.zeros_like(v) if coming[0] is None else rows(coming[0])
    q, k, v, beta, d = rows(q), rows(k), rows(v), rows(beta), rows(d)
    inputs = (q, k, v, beta, d, dense(S), *(dense(x) for x in kept), grad, dense(coming[1]))
    layout = sizes(q, v, d, False, q, k, v, None, beta, d, grad, *grads[:3])
    kernels.run("delta_rule_backward", *inputs, *grads, grad_d, grad_S, layout)
    return *grads, grad_d, grad_S


_delta_rule = custom_op(
    _forward,
    "delta_rule",
    outputs=_outputs,
    backward=_backward,
    gradients=_gradients,
    formula=_in_pytorch,
    keeps=(2, 3),
)
