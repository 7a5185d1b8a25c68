"""The recurrence of Mamba: h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + skip x_t.

(S6, arXiv 2312.00752, algorithm 2; our K is its state size N.) Each channel has K states, each with its own
decay, so that the states of all tokens, (B, T, D, K), would be K times larger than any activation.

The fast form never materialises them. All chunks of C tokens advance in parallel, one token at a time: first from a
zero state, which gives each chunk's contribution; then, after a short pass over the chunks, from their true initial
states. Only these, one state a chunk, are kept for the backward, which recomputes the states of a few chunks at a
time. Only sums of dt A, never positive, are exponentiated, so that nothing overflows.
On the CPU the native kernel runs the loop, vectorised over channels, and keeps the same states.
"""

from __future__ import annotations

from torch import Tensor

from anyformer.ops._base import primitive
from anyformer.ops._gate import needs_grad
from anyformer.ops.selective_scan.definition import prepare, selective_scan_definition, selective_scan_flops
from anyformer.ops.selective_scan.paths import selective_scan_op
from anyformer.precision import no_autocast

__all__ = ["selective_scan", "selective_scan_definition", "selective_scan_flops"]


@primitive(
    "selective_scan",
    definition=selective_scan_definition,
    flops=selective_scan_flops,
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
    """Run h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + skip x_t, for every channel; optionally gated.

    Args:
        x: (B, D, T).
        dt: step sizes (B, D, T), not negative unless ``dt_softplus``. A token with x = dt = 0 changes nothing.
        A: (D, K), negative.
        B_, C_: (B, K, T).
        skip: (D,).
        initial: the state before the first token, (B, D, K).
        gate: (B, D, T), y is multiplied by silu(gate).
        dt_softplus: apply softplus to ``dt``, which may then have any sign; -inf gives a step of zero.

    Returns:
        y (B, D, T) in the dtype of x, and the state after the last token (B, D, K) in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(x):
        x, dt, A, B_, C_, skip, h, gate, dtype = prepare(x, dt, A, B_, C_, skip, initial, gate)
        if x.shape[-1] == 0:
            return x.to(dtype), h
        # (B, T, D), the memory layout around a mixer
        parts = (x.mT, dt.mT, A, B_.mT, C_.mT, skip, h, None if gate is None else gate.mT)
        y, h, _ = selective_scan_op(*parts, dt_softplus, needs_grad(*parts))
        return y.mT.to(dtype), h
