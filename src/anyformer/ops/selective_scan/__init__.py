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

from torch import Tensor

from anyformer.ops._base import primitive
from anyformer.ops._gate import tracked
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
        x, dt, A, B_, C_, skip, h, gate, dtype = prepare(x, dt, A, B_, C_, skip, initial, gate)
        if x.shape[-1] == 0:
            return x.to(dtype), h
        # time before width, as in memory around a mixer
        parts = (x.mT, dt.mT, A, B_.mT, C_.mT, skip, h, None if gate is None else gate.mT)
        y, h, _ = selective_scan_op(*parts, dt_softplus, tracked(*parts))
        return y.mT.to(dtype), h
