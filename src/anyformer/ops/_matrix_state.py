"""Recurrences with matrix states: argument checks, chunks, the delta rule within a chunk, the kernels' size table."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.precision import common, log_decays

KEEP = 128
"""Tokens between two states that the native forward keeps for its backward, as in kernels/cpu/matrix_state.h."""
RADIX = 16
"""Chunks of a group of :func:`carry`."""


def widened(
    q: Tensor, k: Tensor, v: Tensor, initial: Tensor | None, *, counted: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q, k (B, H, T, K), v (B, H, T, V) and the first state (B, H, K, V) in one dtype, float32 at least.

    Args:
        initial: the first state; zeros if None.
        counted: the state has one more column, for the sum of the weights.

    Raises:
        ValueError: if shapes don't fit.
    """
    if q.dim() != 4 or k.shape != q.shape:
        raise ValueError(
            f"q and k must share one shape (B, H, T, K), got {tuple(q.shape)} and {tuple(k.shape)}"
        )
    B, H, T, K = q.shape
    if v.dim() != 4 or v.shape[:3] != (B, H, T):
        raise ValueError(f"v must have shape ({B}, {H}, {T}, V), got {tuple(v.shape)}")
    shape = (B, H, K, v.shape[-1] + counted)
    if initial is not None and initial.shape != shape:
        raise ValueError(f"initial must have shape {shape}, got {tuple(initial.shape)}")
    float_ = common(q, v)
    q, k, v = (x.to(float_) for x in (q, k, v))
    return q, k, v, q.new_zeros(shape) if initial is None else initial.to(float_)


def prepare_delta(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, initial: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, torch.dtype]:
    """Check and widen the arguments; beta and the decay become (B, H, T, 1)."""
    dtype = v.dtype
    q, k, v, S = widened(q, k, v, initial)
    B, H, T, _ = q.shape
    for name, x in (("beta", beta), ("log_decay", log_decay)):
        if x is not None and x.shape != (B, H, T):
            raise ValueError(f"{name} must have shape ({B}, {H}, {T}), got {tuple(x.shape)}")
    d = None if log_decay is None else log_decay[..., None].to(q.dtype)
    return q, k, v, beta[..., None].to(q.dtype), d, S, dtype


def in_chunks(x: Tensor, C: int) -> Tensor:
    """Reshape (B, H, T, W) to (B, H, n, C, W), the last chunk padded with zeros."""
    n = -(-x.shape[2] // C)
    missing = n * C - x.shape[2]
    return (pad(x, (0, 0, 0, missing)) if missing else x).unflatten(2, (n, C))


class Chunks(NamedTuple):
    """A chunk as a function of the state S before it: y = scores @ values + reads @ S, S' = transition @ S + written"""

    scores: Tensor  # (B, H, n, C, C), lower triangular
    values: Tensor  # (B, H, n, C, V), the corrected ones
    reads: Tensor  # (B, H, n, C, K)
    transition: Tensor  # (B, H, n, K, K)
    written: Tensor  # (B, H, n, K, V)


def chunk_parts(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, d: Tensor | None) -> Chunks:
    """Solve the delta rule within chunks (B, H, n, C, ...), each from an unknown state."""
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
    # solve_triangular assumes a unit diagonal and never reads above it
    solved = torch.linalg.solve_triangular(
        beta * overlap, beta * torch.cat((v, k_start), -1), upper=False, unitriangular=True
    )
    u, w = solved.split((v.shape[-1], K), -1)
    written, erased = (k_end.mT @ solved).split((v.shape[-1], K), -1)
    eye = torch.eye(K, dtype=q.dtype, device=q.device)
    transition = (eye if total is None else total * eye) - erased
    return Chunks(scores, u, q_start - scores @ w, transition, written)


def carry(M: Tensor, N: Tensor, S: Tensor) -> Tensor:
    """Run S_c = M_c S_{c-1} + N_c over the third axis, in groups of RADIX as in the scan; return the states S_c."""
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


def sizes(q: Tensor, v: Tensor, d: Tensor | None, normalize: bool, *others: Tensor | None) -> Tensor:
    """Return the table of kernels/cpu/heads.h, int64: B, H, T, K, V, the kind of decay, strides of ``others``."""
    kind = 0 if d is None else 2 if d.shape[-1] > 1 else 1
    steps = [n for x in others for n in ((0, 0, 0) if x is None else x.stride()[:3])]
    numbers = array("q", [*q.shape, v.shape[-1], kind, normalize, *steps])
    return torch.frombuffer(numbers, dtype=torch.int64)  # a third of the time of torch.tensor
