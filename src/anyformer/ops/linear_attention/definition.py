"""The loop, its checks, and the cost of the chunked form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops._matrix_state import widened

CHUNK = 64
"""Tokens per chunk in PyTorch."""


def linear_attention_definition(
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
    """The loop; see :func:`linear_attention`."""
    q, k, v, d, S, dtype = prepare(q, k, v, log_decay, normalize, initial, causal)
    q, v = scale_and_count(q, v, scale, normalize)
    B, H, T, K = q.shape
    outputs = []
    for t in range(T):
        if d is not None:
            S = d[:, :, t].exp()[..., None] * S
        S = S + k[:, :, t, :, None] * v[:, :, t, None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], S))
    if not causal:
        outputs = [torch.einsum("bhk,bhkv->bhv", q[:, :, t], S) for t in range(T)]
    return finish(torch.stack(outputs, 2) if T else v, normalize, dtype), S


def linear_attention_flops(
    q: Tensor, k: Tensor, v: Tensor, *, normalize: bool = False, causal: bool = True, **_: Any
) -> int:
    """The chunked form: scores and their product with v inside chunks, the state written and read."""
    B, H, T, K = q.shape
    V = v.shape[-1] + normalize
    inside = min(CHUNK, T) * (K + V) if causal and T > 1 else 0
    return 2 * B * H * T * (inside + 2 * K * V)


def prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    normalize: bool,
    initial: Tensor | None,
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, torch.dtype]:
    """Check and widen the arguments; the decay becomes (B, H, T, 1) or (B, H, T, K)."""
    dtype = v.dtype
    q, k, v, S = widened(q, k, v, initial, counted=normalize)
    B, H, T, K = q.shape
    d = log_decay
    if d is not None:
        if not causal:
            raise ValueError("log_decay must be None where causal=False: a decay needs an order")
        if d.shape not in ((H,), (B, H, T), (B, H, T, K)):
            shapes = f"({H},), ({B}, {H}, {T}) or ({B}, {H}, {T}, {K})"
            raise ValueError(f"log_decay must have shape {shapes}, got {tuple(d.shape)}")
        d = d[:, None, None].expand(B, H, T, 1) if d.dim() == 1 else d if d.dim() == 4 else d[..., None]
        d = d.to(q.dtype)
    return q, k, v, d, S, dtype


def scale_and_count(q: Tensor, v: Tensor, scale: float | None, normalize: bool) -> tuple[Tensor, Tensor]:
    """Scale the queries; append the column of ones that sums the weights."""
    return q if scale is None else q * scale, pad(v, (0, 1), value=1.0) if normalize else v


def finish(y: Tensor, normalize: bool, dtype: torch.dtype) -> Tensor:
    """Divide by the sum of the weights, which is the last column."""
    if normalize:
        y, total = y[..., :-1], y[..., -1:]
        y = torch.where(total == 0, 0.0, y / torch.where(total == 0, 1.0, total))
    return y.to(dtype)
