"""The state, the loop, its checks and its cost."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer.precision import common


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
    scores, v, d, bonus, (m, u, w) = prepare(scores, v, log_decay, bonus, initial)
    d = torch.zeros_like(scores) if d is None else d.expand_as(scores)
    outputs = []
    for t in range(v.shape[2]):
        score, value, decay = scores[:, :, t], v[:, :, t], d[:, :, t]
        if bonus is not None:
            seen = read(m, decay, u, w, score + bonus, value)
        top = torch.maximum(m + decay, score).detach()
        old, new = weights_of(m, decay, score, top)
        m, u, w = top, old * u + new * value, old * w + new
        outputs.append(u / nonzero(w) if bonus is None else seen)
    return (torch.stack(outputs, 2) if outputs else v).to(dtype), SoftmaxState(m, u, w)


def softmax_scan_flops(scores: Tensor, v: Tensor, *_: Any, bonus: Tensor | None = None, **__: Any) -> int:
    """Return the FLOPs: the scan of u and w, two exponentials and the division; twice these with a bonus."""
    each = 5 * (v.numel() + scores.numel()) + 4 * scores.numel() + v.numel()
    return each + (0 if bonus is None else 6 * v.numel() + 4 * scores.numel())


def weights_of(m: Tensor, decay: Tensor | float, score: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(m + decay - top) and exp(score - top), zero where no token has been seen.

    The large m and top are subtracted first, which is exact where they are close: the decays keep their accuracy,
    and top need only be close to the true maximum.
    """
    top = torch.where(top == -torch.inf, 0.0, top)
    return (m - top + decay).exp(), (score - top).exp()


def read(m: Tensor, decay: Tensor | float, u: Tensor, w: Tensor, score: Tensor, v: Tensor) -> Tensor:
    """Return the average over a decayed state and one more token."""
    old, new = weights_of(m, decay, score, torch.maximum(m + decay, score).detach())
    return (old * u + new * v) / nonzero(old * w + new)


def nonzero(w: Tensor) -> Tensor:
    """Return w with ones for zeros, as a divisor."""
    return torch.where(w == 0, 1.0, w)


def prepare(
    scores: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    initial: SoftmaxState | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, SoftmaxState]:
    """Check and widen the arguments: scores to (B, H, T, W), decays to that or (1, H, 1, W), the bonus to (H, W).

    W is 1, or V for weights of each channel.
    """
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
