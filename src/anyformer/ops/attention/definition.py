"""The formula, one query at a time, its checks, and its cost."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from anyformer.ops.attention.heads import check_heads, check_places, nothing_seen, score_scale
from anyformer.ops.attention.tiles import NORMALIZERS, Score, Weigh, distance
from anyformer.precision import wide


def attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    visible: Tensor | None = None,
    bias: Tensor | None = None,
    places: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
    score: Score | None = None,
    normalizer: str = "softmax",
    weigh: Weigh | None = None,
    return_lse: bool = False,
) -> Any:
    """The formula, one query at a time. Arguments as in :func:`attention`."""
    check(q, k, v, causal, visible, bias, places, normalizer, return_lse)
    (B, H, T, K), S = q.shape, k.shape[2]
    dtype, repeat = wide(q.dtype), H // k.shape[1]
    keys = k.to(dtype).repeat_interleave(repeat, 1)
    values = v.to(dtype).repeat_interleave(repeat, 1)
    sees = torch.ones(B, H, T, S, dtype=torch.bool, device=q.device)
    if causal:
        sees = sees.tril(S - T)
    if visible is not None:
        sees = sees & visible
    terms = torch.zeros((), dtype=dtype, device=q.device) if bias is None else bias.to(dtype)
    if places is not None:
        terms = terms - distance(*places).to(dtype)
    terms = terms.expand(B, H, T, S)
    outputs, lses = [], []
    for t in range(T):
        scores = (
            torch.einsum("bhk,bhsk->bhs", q[:, :, t].to(dtype), keys) * score_scale(scale, K) + terms[:, :, t]
        )
        scores = scores if score is None else score(scores)
        scores = scores.masked_fill(~sees[:, :, t], -torch.inf)
        shift = torch.zeros_like(scores[..., :1]) if S == 0 else scores.detach().amax(-1, keepdim=True)
        shift = shift.masked_fill(shift == -torch.inf, 0.0)
        if normalizer == "sigmoid":
            weights = scores.sigmoid()
        elif normalizer == "laplace":
            weights = 0.5 * (1 + torch.erf((scores - 0.5**0.5) / (0.5 / math.pi) ** 0.5))
        elif normalizer == "silu":
            seen = scores.masked_fill(scores == -torch.inf, 0.0)
            weights = seen * seen.sigmoid()
        else:
            weights = (scores - shift).exp()
            total = weights.sum(-1, keepdim=True)
            if normalizer == "softmax_one":
                total = total + (-shift).exp()
            weights = weights / torch.where(total > 0, total, 1.0)
        added: Tensor | None = None
        if weigh is not None:
            weights, added = weigh(weights[:, :, None], t)
            weights = weights[:, :, 0]
        parts = weights[..., None] * values
        if weigh is None:  # a hidden key contributes nothing, even where its value is NaN
            parts = parts.masked_fill(~sees[:, :, t, :, None], 0.0)
        outputs.append(parts.sum(2))
        if added is not None:
            outputs[-1] = outputs[-1] + added[:, :, 0]
        nothing = (scores == -torch.inf).all(-1, keepdim=True)
        lses.append(scores.masked_fill(nothing, 0.0).logsumexp(-1).masked_fill(nothing[..., 0], -torch.inf))
    if T == 0:
        return nothing_seen(q, k, v, return_lse)
    y = torch.stack(outputs, 2).to(q.dtype)
    return (y, torch.stack(lses, 2)) if return_lse else y


def attention_flops(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, **_: Any) -> int:
    """Return the FLOPs of the two products over all visible pairs."""
    (B, H, T, K), S, V = q.shape, k.shape[2], v.shape[3]
    pairs = T * S - T * (T - 1) // 2 if causal else T * S
    return 2 * B * H * pairs * (K + V)


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    visible: Tensor | None,
    bias: Tensor | None,
    places: tuple[Tensor, Tensor] | None,
    normalizer: str,
    return_lse: bool,
) -> None:
    """Raise ``ValueError`` unless the arguments of :func:`attention` fit together."""
    check_heads(q, k, v)
    shape = (*q.shape[:3], k.shape[2])
    check_places(q, k, places)
    if causal and shape[2] > shape[3]:
        raise ValueError(
            f"causal needs at least as many keys as queries, got {shape[3]} keys, {shape[2]} queries"
        )
    for name, x in (("visible", visible), ("bias", bias)):
        if x is None:
            continue
        if x.dim() > 4 or any(
            a not in (1, b) for a, b in zip(reversed(x.shape), reversed(shape), strict=False)
        ):
            raise ValueError(f"{name} must be broadcastable to {shape}, got {tuple(x.shape)}")
    if visible is not None and visible.dtype != torch.bool:
        raise ValueError(f"visible must be bool, got {visible.dtype}")
    if normalizer not in NORMALIZERS:
        raise ValueError(f"normalizer must be one of {', '.join(NORMALIZERS)}; got {normalizer!r}")
    if return_lse and normalizer != "softmax":
        raise ValueError(f"return_lse needs normalizer='softmax', got {normalizer!r}")
