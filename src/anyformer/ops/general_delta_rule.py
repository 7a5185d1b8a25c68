"""The generalised delta rule: a state with a decay per channel and a rank-one update of the transition.

S_t = diag(exp(d_t)) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T,  y_t = q_t^T S_t.
(RWKV-7, arXiv 2503.14456, eq. 17; their S is our S^T.) Cases: a = k exp(d) and b = -beta k with beta k for k is the
delta rule, gated where d is not zero; a or b = 0 is linear attention with a vector decay.

Inside a chunk that starts from S_0 the u_t = a_t^T S_{t-1} solve a unit lower-triangular system,
u_t - sum_{s<t} (a_t^T D_ts b_s) u_s = sum_{s<t} (a_t^T D_ts k_s) v_s + a_t^T D_t0 S_0, with D_ts the decay after s and
before t. So a chunk is S_end = M S_0 + N, as in :mod:`anyformer.ops.delta_rule`. The products with decays between two
tokens are taken block by block, from a point between them, so that only decays are exponentiated, never their inverses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops._gate import Path, Paths
from anyformer.ops._matrix_state import carry, in_chunks, widened
from anyformer.precision import log_decays, no_autocast

CHUNK = 32


def general_delta_rule_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    log_decay: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The loop; see :func:`general_delta_rule`."""
    q, k, v, a, b, d, S, dtype = _prepare(q, k, v, a, b, log_decay, initial)
    outputs = []
    for t in range(q.shape[2]):
        u = torch.einsum("bhk,bhkv->bhv", a[:, :, t], S)
        S = d[:, :, t].exp()[..., None] * S
        S = S + b[:, :, t, :, None] * u[:, :, None] + k[:, :, t, :, None] * v[:, :, t, None]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], S))
    return (torch.stack(outputs, 2) if outputs else v).to(dtype), S


def general_delta_rule_flops(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    """The chunked form: four matrices of pairs, a triangular solve, M and N, the state's pass, the outputs."""
    B, H, T, K = q.shape
    V = v.shape[-1]
    if T == 1:
        return 2 * B * H * 4 * K * V
    C = min(CHUNK, T)
    inside = 4 * C * K + C * (K + V) // 2 + 3 * C * V + C * K
    states = K * (K + 2 * V) + (K * K * (K + 2 * V) // C if T > CHUNK else 0)
    return 2 * B * H * T * (inside + states + K * V)


@primitive(
    "general_delta_rule",
    definition=general_delta_rule_definition,
    flops=general_delta_rule_flops,
    spread=ALONG_TIME,
)
def general_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    log_decay: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S_t = diag(exp(d_t)) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T, y_t = q_t^T S_t.

    Args:
        q, k, a, b: (B, H, T, K). The state stays bounded where a and -b are parallel and |a| |b| is small enough.
        v: (B, H, T, V).
        log_decay: d, at most zero, (B, H, T, K); None for no decay. A token with k, a or b, and d zero changes nothing.
        initial: the state before the first token, (B, H, K, V).

    Returns:
        y (B, H, T, V) in the dtype of v, and the state after the last token in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(q):
        q, k, v, a, b, d, S, dtype = _prepare(q, k, v, a, b, log_decay, initial)
        y, S = _PATHS(q, k, v, a, b, d, S)
        return y.to(dtype), S


def _prepare(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, log_decay: Tensor | None, initial: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, torch.dtype]:
    """Check and widen the arguments."""
    dtype = v.dtype
    q, k, v, S = widened(q, k, v, initial)
    for name, x in (("a", a), ("b", b), ("log_decay", log_decay)):
        if x is not None and x.shape != q.shape:
            raise ValueError(f"{name} must have shape {tuple(q.shape)}, got {tuple(x.shape)}")
    d = torch.zeros_like(q) if log_decay is None else log_decay.to(q.dtype)
    return q, k, v, a.to(q.dtype), b.to(q.dtype), d, S, dtype


def _in_pytorch(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, d: Tensor, S: Tensor
) -> tuple[Tensor, Tensor]:
    T = q.shape[2]
    if T == 0:
        return v, S
    if T > 1:
        return _chunked(q, k, v, a, b, d, S)
    S = d.mT.exp() * S + b.mT * (a @ S) + k.mT * v
    return q @ S, S


_PATHS = Paths(
    "general_delta_rule",
    Path("chunks", "the WY form in chunks, as batched matrix products in PyTorch", _in_pytorch),
)


def _chunked(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, d: Tensor, S: Tensor
) -> tuple[Tensor, Tensor]:
    """Run all n chunks of C tokens, a power of two, at once."""
    T, V, K = q.shape[2], v.shape[-1], q.shape[-1]
    C = min(CHUNK, 1 << (T - 1).bit_length())
    q, k, v, a, b, d = (in_chunks(x, C) for x in (q, k, v, a, b, d))
    d = log_decays(d)
    G = d.cumsum(3)
    E = G - d  # before the token
    last = G[:, :, :, -1:]

    def decayed(x: Tensor, log: Tensor) -> Tensor:
        return x * log.to(x.dtype).exp()

    ab, ak = _pairs(a, (b, k), E, G, strict=True)
    qb, qk = _pairs(q, (b, k), G, G, strict=False)
    # solve_triangular assumes a unit diagonal and never reads above it
    solved = torch.linalg.solve_triangular(
        -ab, torch.cat((ak @ v, decayed(a, E)), -1), upper=False, unitriangular=True
    )
    u, w = solved.split((V, K), -1)
    k_end, b_end = decayed(k, last - G), decayed(b, last - G)
    written, changed = (b_end.mT @ solved).split((V, K), -1)
    M = torch.diag_embed(last.to(q.dtype).exp()[:, :, :, 0]) + changed
    S_all = carry(M, k_end.mT @ v + written, S)
    before = torch.cat((S[:, :, None], S_all[:, :, :-1]), 2)
    y = qk @ v + qb @ u + (decayed(q, G) + qb @ w) @ before
    return y.flatten(2, 3)[:, :, :T], S_all[:, :, -1]


def _pairs(
    x: Tensor, others: tuple[Tensor, Tensor], G_x: Tensor, G: Tensor, *, strict: bool
) -> tuple[Tensor, Tensor]:
    """Return x_t^T diag(exp(G_x_t - G_s)) y_s for s < t (s <= t unless strict) for each y: (B, H, n, C, C), else zero.

    Bottom up: two triangles and the square of the pairs between them make the next larger triangle.
    """
    C = x.shape[3]
    y = torch.stack(others)
    triangle = (x * y).sum(-1)[..., None, None] * (0.0 if strict else 1.0)  # (2, B, H, n, C, 1, 1)
    half = 1
    while half < C:
        blocks = (-1, 2, half)
        G_early = G.unflatten(3, blocks)[:, :, :, :, 0]
        middle = G_early[:, :, :, :, -1:]
        late = x.unflatten(3, blocks)[:, :, :, :, 1]
        late = late * (G_x.unflatten(3, blocks)[:, :, :, :, 1] - middle).to(x.dtype).exp()
        early = y.unflatten(4, blocks)[:, :, :, :, :, 0] * (middle - G_early).to(x.dtype).exp()
        upper, lower = triangle[:, :, :, :, 0::2], triangle[:, :, :, :, 1::2]
        triangle = torch.cat((pad(upper, (0, half)), torch.cat((late @ early.mT, lower), -1)), -2)
        half *= 2
    first, second = triangle[:, :, :, :, 0]
    return first, second
