"""Linear attention with a decaying state: S_t = exp(d_t) S_{t-1} + k_t v_t^T, y_t = q_t^T S_t.

No decay is Katharopoulos et al. (arXiv 2006.16236, eq. 16-20), a constant per head is retention (arXiv
2307.08621, eq. 5-7), a scalar per token Mamba-2 (arXiv 2405.21060), a vector per token GLA (arXiv 2312.06635).

The fast form computes all chunks of the sequence at once and carries the state between them with
:func:`anyformer.ops.scan.scan`. Only sums of log decays from one token to a later one are exponentiated, so that
nothing overflows however strong the decay. With vector decays such a sum factorises into a part of the query and one
of the key only at a point between them: so a chunk is halved, the pairs across the middle are a matrix product, and
each half is halved again.

On the CPU the native kernel runs along the chunks of each head, 16 tokens at a time, with the state in cache. It
decays the written terms step by step inside a chunk, so that only single decays are exponentiated.
"""

from __future__ import annotations

from torch import Tensor

from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops.linear_attention.definition import (
    linear_attention_definition,
    linear_attention_flops,
    prepare,
)
from anyformer.ops.linear_attention.paths import PATHS
from anyformer.precision import no_autocast

__all__ = ["linear_attention", "linear_attention_definition", "linear_attention_flops"]


@primitive(
    "linear_attention",
    definition=linear_attention_definition,
    flops=linear_attention_flops,
    spread=ALONG_TIME,
)
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor | None = None,
    normalize: bool = False,
    scale: float | None = None,
    initial: Tensor | None = None,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    """Run linear attention, whose past is a matrix: S_t = exp(d_t) S_{t-1} + k_t v_t^T, y_t = q_t^T S_t.

    Args:
        q, k: (B, H, T, K). v: (B, H, T, V).
        log_decay: d, at most zero: per head (H,), per token (B, H, T) or per channel (B, H, T, K); None for
            no decay. A token with k = v = d = 0 leaves the state as it is.
        normalize: divide by the sum of the weights, q_t^T z_t; z decays with S and is its last column.
            Where it is exactly zero the output is zero.
        scale: multiplies q; one if None.
        initial: the state before the first token, (B, H, K, V), or (B, H, K, V + 1) with ``normalize``.
        causal: with False every query reads the state after the last token; there is no decay then.

    Returns:
        y (B, H, T, V) in the dtype of v, and the state after the last token in at least float32.

    Raises:
        ValueError: if shapes don't fit, or a decay is given without ``causal``.
    """
    with no_autocast(q):
        q, k, v, d, S, dtype = prepare(q, k, v, log_decay, normalize, initial, causal)
        y, S = PATHS(q, k, v, d, S, scale, normalize, causal)
        return y.to(dtype), S
