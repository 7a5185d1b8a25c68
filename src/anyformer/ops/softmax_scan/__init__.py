"""Softmax averages over all prefixes of a sequence, by a scan: attention with one fixed query, streamed.

y_t = sum_{s <= t} w_ts v_s / sum_{s <= t} w_ts,  w_ts = exp(score_s + sum of log decays after s up to t).
Aaren (arXiv 2405.13956, section 3.2) is the case without decay; RWKV's wkv (arXiv 2305.13048, eq. 16) has
scores and decays for each channel, and a bonus for the current token.

The state is (m, u, w): the numerator u and the denominator w, both divided by exp(m), where m is the largest exponent
so far. m has no gradient, as it cancels in every result.

On the CPU the native kernel runs the loop and keeps only the initial state of each chunk of steps; the backward
recomputes the others chunk by chunk. In PyTorch a running maximum and two scans find all states at once.
"""

from __future__ import annotations

from torch import Tensor

from anyformer.ops._base import primitive
from anyformer.ops.softmax_scan.definition import (
    SoftmaxState,
    prepare,
    softmax_scan_definition,
    softmax_scan_flops,
)
from anyformer.ops.softmax_scan.paths import softmax_scan_op

__all__ = ["SoftmaxState", "softmax_scan", "softmax_scan_definition", "softmax_scan_flops"]


@primitive(
    "softmax_scan",
    definition=softmax_scan_definition,
    flops=softmax_scan_flops,
)
def softmax_scan(
    scores: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    bonus: Tensor | None = None,
    initial: SoftmaxState | None = None,
) -> tuple[Tensor, SoftmaxState]:
    """Compute softmax-weighted averages of all prefixes.

    Args:
        scores: (B, H, T), or (B, H, T, V) for weights of each channel; -inf leaves a token out (with a decay
            of zero it then changes nothing).
        v: (B, H, T, V).
        log_decay: at most zero: (H,) or (B, H, T), per channel (H, V) or (B, H, T, V); None for no decay.
        bonus: (H,) or (H, V), added to the current token's score in the output only, not in the state.
        initial: the state before the first token; m = -inf is an empty state.

    Returns:
        y (B, H, T, V) in the dtype of v, zero where nothing has been seen, and the state after the last
        token in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    dtype = v.dtype
    scores, v, d, bonus, state = prepare(scores, v, log_decay, bonus, initial)
    if v.shape[2] == 0:
        return v.to(dtype), state
    y, m, u, w, _ = softmax_scan_op(scores, v, d, bonus, *state)
    return y.to(dtype), SoftmaxState(m, u, w)
