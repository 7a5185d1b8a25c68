"""The chunked form in PyTorch: all chunks at once, the state carried between them by a scan."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops._matrix_state import in_chunks
from anyformer.ops.linear_attention.definition import CHUNK, finish, scale_and_count
from anyformer.ops.scan import scan
from anyformer.precision import log_decays


def in_pytorch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d: Tensor | None,
    S: Tensor,
    scale: float | None,
    normalize: bool,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return y and the state after the last token."""
    q, v = scale_and_count(q, v, scale, normalize)
    T = q.shape[2]
    if T == 0:
        y, S = v, S
    elif not causal:
        S = S + k.mT @ v
        y = q @ S
    elif T == 1:
        S = k.mT * v + (S if d is None else d[:, :, 0].exp()[..., None] * S)
        y = q @ S
    else:
        y, S = _chunked(q, k, v, d, S)
    return finish(y, normalize, y.dtype), S


def _chunked(q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor) -> tuple[Tensor, Tensor]:
    """Run all n chunks at once, of C tokens each (a power of two, or T if that is less)."""
    B, H, T, K = q.shape
    C = CHUNK if T > CHUNK else T if d is None or d.shape[-1] == 1 else 1 << (T - 1).bit_length()
    n = -(-T // C)
    q, k, v = (in_chunks(x, C) for x in (q, k, v))
    G = None if d is None else log_decays(in_chunks(d, C)).cumsum(3)

    if G is None:
        y = (q @ k.mT).tril() @ v
        written = k.mT @ v
        S_all = _carry_by_scan(written.new_ones(1, 1, 1, 1, 1).expand(B, H, n, 1, 1), written, S)
    else:
        y = _inside_scalar(q, k, v, G) if G.shape[-1] == 1 else _inside_vector(q, k, v, G)
        last = G[:, :, :, -1:]
        written = (k * (last - G).to(k.dtype).exp()).mT @ v
        decay = last.to(k.dtype).exp().squeeze(3)[..., None]  # (B, H, n, 1 or K, 1)
        S_all = _carry_by_scan(decay, written, S)
        q = q * G.to(q.dtype).exp()
    before = torch.cat((S[:, :, None], S_all[:, :, :-1]), 2)
    y = y + q @ before
    return y.flatten(2, 3)[:, :, :T], S_all[:, :, -1]


def _carry_by_scan(decay: Tensor, written: Tensor, S: Tensor) -> Tensor:
    """Return the state after each chunk, (B, H, n, K, V)."""
    B, H, n, K, V = written.shape
    if n == 1:
        return decay * S[:, :, None] + written
    if decay.shape[-2] == 1:
        after, _ = scan(decay.squeeze(-1), written.flatten(3), S.flatten(2))
        return after.unflatten(3, (K, V))
    after, _ = scan(decay.squeeze(-1).repeat_interleave(V, -1), written.flatten(3), S.flatten(2))
    return after.unflatten(3, (K, V))


def _inside_scalar(q: Tensor, k: Tensor, v: Tensor, G: Tensor) -> Tensor:
    C = q.shape[3]
    later = torch.ones(C, C, dtype=torch.bool, device=q.device).triu(1)
    weight = (G - G.mT).masked_fill(later, -torch.inf).to(q.dtype).exp()
    return ((q @ k.mT) * weight) @ v


def _inside_vector(q: Tensor, k: Tensor, v: Tensor, G: Tensor) -> Tensor:
    """Attend within chunks: pairs across the middle of blocks of C, C/2, ..., 2 tokens, and each token with itself."""
    y = (q * k).sum(-1, keepdim=True) * v
    half = q.shape[3] // 2
    while half:
        blocks = (-1, 2, half)
        qs, ks, vs, Gs = (x.unflatten(3, blocks) for x in (q, k, v, G))
        middle = Gs[:, :, :, :, 0, -1:]
        late = qs[:, :, :, :, 1] * (Gs[:, :, :, :, 1] - middle).to(q.dtype).exp()
        early = ks[:, :, :, :, 0] * (middle - Gs[:, :, :, :, 0]).to(q.dtype).exp()
        across = (late @ early.mT) @ vs[:, :, :, :, 0]
        y = y + pad(across[:, :, :, :, None], (0, 0, 0, 0, 1, 0)).flatten(3, 5)
        half //= 2
    return y
