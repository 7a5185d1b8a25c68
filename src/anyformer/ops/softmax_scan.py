"""Softmax averages over all prefixes of a sequence, by a scan: attention with one fixed query, streamed.

y_t = sum_{s <= t} w_ts v_s / sum_{s <= t} w_ts,  w_ts = exp(score_s + sum of log decays after s up to t).
Aaren (arXiv 2405.13956, section 3.2) is the case without decay; RWKV's wkv (arXiv 2305.13048, eq. 16) has
scores and decays for each channel, and a bonus for the current token.

The state is (m, u, w): u and w, the sums above and below, are kept divided by exp(m), m being the largest
exponent so far. m carries no gradient: it cancels in everything that is computed from a state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anyformer.ops._base import Path, primitive
from anyformer.ops._precision import wide
from anyformer.ops.scan import scan


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
    outputs = []
    for t in range(v.shape[2]):
        score, value = scores[:, :, t], v[:, :, t]
        decay = torch.zeros_like(m) if d is None else d[:, :, t]
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
    path=Path("groups", "a running maximum and two scans in PyTorch; there is no native kernel"),
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
    scores, v, d, bonus, (m0, u0, w0) = _prepare(scores, v, log_decay, bonus, initial)
    T = v.shape[2]
    if T == 0:
        return v.to(dtype), SoftmaxState(m0, u0, w0)
    m = _running_max(scores, d, m0)
    past, decay = torch.cat((m0.unsqueeze(2), m[:, :, :-1]), 2), 0.0 if d is None else d
    old, new = _weights(past, decay, scores, m)
    u, u_end = scan(old, new * v, u0)
    w, w_end = scan(old, new, w0)
    if bonus is None:
        y = u / _nonzero(w)
    else:
        u, w = (torch.cat((x0.unsqueeze(2), x[:, :, :-1]), 2) for x0, x in ((u0, u), (w0, w)))
        y = _read(past, decay, u, w, scores + bonus[:, None], v)
    return y.to(dtype), SoftmaxState(m[:, :, -1], u_end, w_end)


def _running_max(scores: Tensor, d: Tensor | None, m0: Tensor) -> Tensor:
    """m_t = max(m_{t-1} + d_t, score_t), all at once; no gradient. Rounding does no harm: see _weights."""
    scores, m0 = scores.detach(), m0.unsqueeze(2)
    if d is None:
        return torch.maximum(m0, scores.cummax(2).values)
    G = d.detach().cumsum(2)
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
    """Check and widen; scores and decays become (B, H, T, W), the bonus (H, W), W being 1 or V."""
    if v.dim() != 4 or scores.shape not in (v.shape, v.shape[:3]):
        raise ValueError(
            f"v must have shape (B, H, T, V) and scores (B, H, T) or that of v, "
            f"got {tuple(v.shape)} and {tuple(scores.shape)}"
        )
    B, H, T, V = v.shape
    float_ = wide(torch.promote_types(scores.dtype, v.dtype))
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
        d = (d[:, None] if d.dim() == 2 else d).expand(B, H, T, W).to(float_)
    if bonus is not None:
        if bonus.shape not in ((H,), (H, W)):
            raise ValueError(f"bonus must have shape ({H},) or ({H}, {W}), got {tuple(bonus.shape)}")
        bonus = (bonus.unsqueeze(-1) if bonus.dim() == 1 else bonus).to(float_)
    if initial is None:
        zeros = v.new_zeros(B, H, V, dtype=float_)
        initial = SoftmaxState(torch.full_like(zeros[..., :W], -torch.inf), zeros, zeros[..., :W])
    m, u, w = (x.to(float_) for x in initial)
    for name, x, wanted in (("m", m, (B, H, W)), ("u", u, (B, H, V)), ("w", w, (B, H, W))):
        if x.shape != wanted:
            raise ValueError(f"initial.{name} must have shape {wanted}, got {tuple(x.shape)}")
    return scores, v.to(float_), d, bonus, SoftmaxState(m.detach(), u, w)
