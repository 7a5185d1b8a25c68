"""Log-linear attention: the past in buckets that double in size, each read with its own weight.

Before token t the past is split like the binary digits of t: a bucket of 2^j tokens for each set bit j, the largest the
oldest (a Fenwick tree). y_t = sum_l lambda_t^(l) q_t^T S_t^(l), where S^(0) holds the token alone and
S^(j+1) the bucket of 2^j tokens; the level of the pair (t, s) is the bit length of t XOR s. All buckets follow the
transitions of the base, linear attention with a decay or the delta rule; with all lambda = 1 the result is the base's.
(Guo et al., arXiv 2506.04761, section 3; their S is our S^T.)

Within a chunk the fast form weighs the matrix of all pairs. Then chunks are joined in pairs, pairs in fours, and so
on: at each level the later half of a block reads the final state of the earlier half. Queries are multiplied by the
transitions back to their block's start, so that one matrix product per level serves all blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops._gate import Path, Paths
from anyformer.ops._matrix_state import chunk_parts, in_chunks, prepare_delta
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer.precision import log_decays, no_autocast

CHUNK = 32
BITS = 40


def log_linear_attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weights: Tensor,
    *,
    beta: Tensor | None = None,
    log_decay: Tensor | None = None,
    start: Tensor | None = None,
    lengths: Tensor | None = None,
    initial: Tensor | None = None,
    final: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """The loop, buckets merged like the digits of a binary counter; see :func:`log_linear_attention`."""
    q, k, v, beta, d, dtype = _prepare(q, k, v, weights, beta, log_decay)
    B, _, T, _ = q.shape
    V = v.shape[-1]
    begin = torch.zeros(B, dtype=torch.int64, device=q.device) if start is None else start
    end = begin + (T if lengths is None else lengths)
    if initial is not None:
        initial = torch.where(_held(start, initial), initial.to(q.dtype), 0.0)
    S = _grown(initial, _slots(end, T if start is None and lengths is None else None), q, V)
    outputs = []
    for t in range(T):
        now = slice(t, t + 1)
        b = None if beta is None else beta[:, :, now]
        lam = weights[:, :, now].to(q.dtype)
        y, new = _step(q[:, :, now], k[:, :, now], v[:, :, now], lam, b, d[:, :, now], S, begin + t)
        S = torch.where((begin + t < end)[:, None, None, None, None], new, S)
        outputs.append(y)
    y = torch.cat(outputs, 2) if outputs else v
    return y.to(dtype), S if final else None


def _step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weights: Tensor,
    beta: Tensor | None,
    d: Tensor,
    S: Tensor,
    number: Tensor,
) -> tuple[Tensor, Tensor]:
    """Advance by one token (B, H, 1, ...) with ``number`` (B,) tokens before it; states are (B, H, J, K, V)."""
    J, L = S.shape[2], weights.shape[-1]
    S = d.exp()[..., None] * S
    if beta is not None:
        key = k[:, :, :, :, None]
        S = S - beta[..., None] * key * (key * S).sum(3, keepdim=True)
        k = beta * k
    new = k.mT * v
    bits = torch.arange(J, device=q.device)
    level = (bits + 1).clamp_max(L - 1)
    holds = (number[:, None] >> bits) & 1 == 1  # (B, J)
    reads = torch.where(holds[:, None], weights[:, :, 0, level], 0.0)
    y = weights[..., :1] * (q @ new) + torch.einsum("bhk,bhj,bhjkv->bhv", q[:, :, 0], reads, S)[:, :, None]
    free = holds.long().cumprod(1).sum(1, keepdim=True)  # the lowest zero bit
    merged = torch.where((bits < free)[:, None, :, None, None], S, 0.0).sum(2) + new
    kept = torch.where((bits > free)[:, None, :, None, None], S, 0.0)
    return y, torch.where((bits == free)[:, None, :, None, None], merged[:, :, None], kept)


def log_linear_attention_flops(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *_: Any,
    beta: Tensor | None = None,
    initial: Tensor | None = None,
    final: bool = True,
    **__: Any,
) -> int:
    """Return the FLOPs: pairs within chunks; at each level, half of the queries; the final states."""
    (B, H, T, K), V = q.shape, v.shape[-1]
    C = min(CHUNK, T)
    levels = max(0, (T - 1).bit_length() - CHUNK.bit_length() + 1)
    inside = C * (K + V) + K * V + (0 if beta is None else 2 * C * K + C * C // 2)
    reads = levels * (K * V + (K if beta is None else K * K)) // 2
    left = T.bit_length() * K * V if final else 0
    old = 0 if initial is None else initial.shape[2] * K * V
    return 2 * B * H * T * (inside + reads + left + old)


@primitive(
    "log_linear_attention",
    definition=log_linear_attention_definition,
    flops=log_linear_attention_flops,
    spread=ALONG_TIME,
)
def log_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weights: Tensor,
    *,
    beta: Tensor | None = None,
    log_decay: Tensor | None = None,
    start: Tensor | None = None,
    lengths: Tensor | None = None,
    initial: Tensor | None = None,
    final: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Compute y_t = sum_l lambda_t^(l) q_t^T S_t^(l) over buckets of 1, 1, 2, 4, ... tokens.

    Args:
        q, k: (B, H, T, K). v: (B, H, T, V).
        weights: lambda, (B, H, T, L); pairs of a level beyond the last use the last.
        beta: (B, H, T); makes the delta rule the base.
        log_decay: at most zero, (B, H, T); None for no decay.
        start: number of tokens before the first one, (B,) int64; None for none.
        lengths: number of real tokens, (B,) int64; the padding after them changes nothing.
        initial: the states before the first token, (B, H, J, K, V): slot j holds 2^j tokens where bit j of ``start``
            is set.
        final: with False the final states, which cost as much as J reads, are not computed.

    Returns:
        y (B, H, T, V) in the dtype of v, and the states after the last token in at least float32, one slot per
        bit of their number of tokens, or None.

    Raises:
        ValueError: if shapes don't fit.
    """
    with no_autocast(q):
        q, k, v, beta, d, dtype = _prepare(q, k, v, weights, beta, log_decay)
        y, S = _PATHS(q, k, v, weights.to(q.dtype), beta, d, start, lengths, initial, final)
        return y.to(dtype), S


def _in_pytorch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weights: Tensor,
    beta: Tensor | None,
    d: Tensor,
    start: Tensor | None,
    lengths: Tensor | None,
    initial: Tensor | None,
    final: bool,
) -> tuple[Tensor, Tensor | None]:
    B, _, T, _ = q.shape
    V, J = v.shape[-1], None
    if final:
        end = q.new_full((B,), T, dtype=torch.int64) if lengths is None else lengths
        end = end if start is None else start + end
        J = _slots(end, T if start is None and lengths is None else None)
    if initial is not None:
        initial = torch.where(_held(start, initial), initial.to(q.dtype), 0.0)
    if T == 0:
        return v, _grown(initial, J or 0, q, V) if final else None
    if T == 1 and final:
        number = torch.zeros(B, dtype=torch.int64, device=q.device) if start is None else start
        S = _grown(initial, J or 0, q, V)
        y, new = _step(q, k, v, weights, beta, d, S, number)
        return y, torch.where((number < end)[:, None, None, None, None], new, S)
    y, reads = _tree(q, k, v, weights, beta, d, start)
    if initial is not None and start is not None:
        y = y + _read_old(reads, weights, initial, start)
    return y, _left(q, k, v, beta, d, start, end, initial, J) if final else None


_PATHS = Paths(
    "log_linear_attention",
    Path(
        "levels",
        "pairs within chunks, then blocks of chunks joined in pairs, as matrix products in PyTorch",
        _in_pytorch,
    ),
)


def _prepare(
    q: Tensor, k: Tensor, v: Tensor, weights: Tensor, beta: Tensor | None, log_decay: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, torch.dtype]:
    """Check and widen the arguments; beta and the decay become (B, H, T, 1)."""
    some = q.new_empty(q.shape[:-1]) if beta is None else beta
    q, k, v, b, d, _, dtype = prepare_delta(q, k, v, some, log_decay, None)
    if weights.dim() != 4 or weights.shape[:3] != q.shape[:3] or weights.shape[3] < 1:
        raise ValueError(
            f"weights must have shape {(*q.shape[:3], 'L')} with L at least 1, got {tuple(weights.shape)}"
        )
    return q, k, v, None if beta is None else b, q.new_zeros(b.shape) if d is None else d, dtype


def _slots(end: Tensor, known: int | None) -> int:
    """Return the number of bits of the largest number of tokens."""
    return (known if known is not None else int(end.max()) if end.numel() else 0).bit_length()


def _grown(initial: Tensor | None, J: int, q: Tensor, V: int) -> Tensor:
    """Return the states, padded with zeros to at least J slots."""
    B, H, _, K = q.shape
    if initial is None:
        return q.new_zeros(B, H, J, K, V)
    return pad(initial.to(q.dtype), (0, 0, 0, 0, 0, max(0, J - initial.shape[2])))


def _level(t: Tensor, s: Tensor) -> Tensor:
    """Return the bit length of t XOR s."""
    powers = 2 ** torch.arange(BITS, device=t.device)
    return ((t ^ s)[..., None] >= powers).sum(-1)


def _placed(x: Tensor, shift: Tensor, size: int) -> Tensor:
    """Move x (B, H, T, W) by ``shift`` (B,) positions into zeros (B, H, size, W)."""
    T = x.shape[2]
    source = torch.arange(size, device=x.device) - shift[:, None]
    index = source.clamp(0, T - 1)[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
    inside = ((source >= 0) & (source < T))[:, None, :, None]
    return torch.where(inside, x.gather(2, index), 0.0)


def _tree(
    q: Tensor, k: Tensor, v: Tensor, weights: Tensor, beta: Tensor | None, d: Tensor, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return what the new tokens read of each other, and their queries times the transitions since the first one."""
    T, L = q.shape[2], weights.shape[-1]
    size = 1 << (T - 1).bit_length()
    tensors = (q, k, v, weights, d) if beta is None else (q, k, v, weights, d, beta)
    top: Tensor | None = None  # pairs across the middle of the whole row, whose level depends on the sample
    if start is None:
        placed = [pad(x, (0, 0, 0, size - T)) for x in tensors]
    else:  # block borders are counted from the first token of the sequence
        shift, block = start % size, torch.div(start, size, rounding_mode="floor")
        placed = [_placed(x, shift, 2 * size) for x in tensors]
        top = (_level(block, block + 1) + size.bit_length() - 1).clamp_max(L - 1)
        size = 2 * size
    C = min(CHUNK, size if start is None else size // 2)
    q, k, v, lam, d, *rest = (in_chunks(x, C) for x in placed)
    y, reads, transition, written = _in_chunk(q, k, v, lam, d, rest[0] if rest else None)
    level = C.bit_length()
    while reads.shape[2] > 1:
        y, reads, transition, written, lam = _join(
            y, reads, transition, written, lam, min(level, L - 1), top if reads.shape[2] == 2 else None
        )
        level += 1
    y, reads = y[:, :, 0], reads[:, :, 0]
    if start is None:
        return y[:, :, :T], reads[:, :, :T]
    back = (shift[:, None] + torch.arange(T, device=y.device))[:, None, :, None]
    y, reads = (x.gather(2, back.expand(-1, x.shape[1], -1, x.shape[3])) for x in (y, reads))
    return y, reads


def _in_chunk(
    q: Tensor, k: Tensor, v: Tensor, lam: Tensor, d: Tensor, beta: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run chunks (B, H, n, C, ...) from zero: y, queries at the chunk's start, the transition M, the end state N."""
    C = q.shape[3]
    place = torch.arange(C, device=q.device)
    level = _level(place[:, None], place).clamp_max(lam.shape[-1] - 1)
    weigh = lam.gather(-1, level.expand(*lam.shape[:3], C, C))
    if beta is None:
        G = log_decays(d).cumsum(3)
        later = torch.ones(C, C, dtype=torch.bool, device=q.device).triu(1)
        decay = (G - G.mT).masked_fill(later, -torch.inf).to(q.dtype).exp()
        last = G[:, :, :, -1:]
        written = (k * (last - G).to(k.dtype).exp()).mT @ v
        pairs, reads = (q @ k.mT) * decay, q * G.to(q.dtype).exp()
        return (pairs * weigh) @ v, reads, last.to(q.dtype).exp(), written
    one = torch.eye(C, dtype=q.dtype, device=q.device).expand(*q.shape[:3], C, C)
    parts = chunk_parts(q, k, one, beta, d)
    y = ((parts.scores @ parts.values) * weigh) @ v
    return y, parts.reads, parts.transition, parts.written @ v


def _join(
    y: Tensor, reads: Tensor, M: Tensor, N: Tensor, lam: Tensor, level: int, top: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Join pairs of neighbouring blocks: the later one reads the final state of the earlier one."""
    (y0, y1), (r0, r1), (M0, M1), (N0, N1), (l0, l1) = (
        (x[:, :, 0::2], x[:, :, 1::2]) for x in (y, reads, M, N, lam)
    )
    if top is None:
        weight = l1[..., level : level + 1]
    else:
        weight = l1.gather(-1, top[:, None, None, None, None].expand(*l1.shape[:4], 1))
    y1 = y1 + weight * (r1 @ N0)
    scalar = M.shape[-1] == 1
    r1 = r1 * M0 if scalar else r1 @ M0
    M, N = (M1 * M0, M1 * N0 + N1) if scalar else (M1 @ M0, M1 @ N0 + N1)
    y, reads, lam = (torch.cat(pair, 3) for pair in ((y0, y1), (r0, r1), (l0, l1)))
    return y, reads, M, N, lam


def _oldest(start: Tensor, J: int) -> Tensor:
    """Return the number of the first token of each bucket, (B, J)."""
    bits = torch.arange(J, device=start.device)
    return (start[:, None] >> (bits + 1)) << (bits + 1)


def _held(start: Tensor | None, initial: Tensor) -> Tensor:
    """Return the slots that hold tokens, (B, 1, J, 1, 1) bool; none before the first token."""
    begin = initial.new_zeros(len(initial), dtype=torch.int64) if start is None else start
    bits = torch.arange(initial.shape[2], device=initial.device)
    return ((begin[:, None] >> bits) & 1 == 1)[:, None, :, None, None]


def _read_old(reads: Tensor, weights: Tensor, S: Tensor, start: Tensor) -> Tensor:
    T, L, J = reads.shape[2], weights.shape[-1], S.shape[2]
    number = start[:, None] + torch.arange(T, device=start.device)
    level = _level(number[:, :, None], _oldest(start, J)[:, None]).clamp_max(L - 1)  # (B, T, J)
    weigh = weights.gather(-1, level[:, None].expand(-1, weights.shape[1], -1, -1))
    return torch.einsum("bhtk,bhtj,bhjkv->bhtv", reads, weigh, S)


def _left(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    d: Tensor,
    start: Tensor | None,
    end: Tensor,
    initial: Tensor | None,
    J: int | None,
) -> Tensor:
    """Return the states after the last token: the base, run on the values of each bucket side by side."""
    assert J is not None
    T, V = v.shape[-2:]
    begin = torch.zeros_like(end) if start is None else start
    J = J if initial is None else max(J, initial.shape[2])
    slots = torch.arange(J, device=q.device)
    number = begin[:, None] + torch.arange(T, device=q.device)
    mine = (_level(number, end[:, None])[..., None] - 1 == slots) & (number < end[:, None])[
        ..., None
    ]  # (B, T, J)
    # padding comes last, and must not decay the state either
    real = (number < end[:, None])[:, None, :, None]
    d = torch.where(real, d, 0.0)
    values = (v[:, :, :, None] * mine[:, None, :, :, None]).flatten(3)
    before = None
    if initial is not None:
        slot = _level(_oldest(begin, initial.shape[2]), end[:, None]) - 1
        moved = (slot[..., None] == slots).to(q.dtype)  # (B, J old, J new)
        before = torch.einsum("bij,bhikv->bhkjv", moved, initial.to(q.dtype)).flatten(3)
    if beta is None:
        S = linear_attention(q, k, values, log_decay=d[..., 0], initial=before)[1]
    else:
        S = delta_rule(q, k, values, (beta * real)[..., 0], log_decay=d[..., 0], initial=before)[1]
    return S.unflatten(3, (J, V)).transpose(2, 3)
