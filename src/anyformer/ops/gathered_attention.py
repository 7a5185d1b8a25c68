"""Softmax attention of each query over its own list of keys.

y_i = sum_n softmax_n(scale * q_i . k_slots[i, n]) v_slots[i, n]

The lists come from :mod:`anyformer.ops.select` (the best keys, pages, clusters) or from a tree of summaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._base import ALONG_TIME, primitive
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths
from anyformer.ops._memory import dense, empty_by_time, rows
from anyformer.ops.attention.heads import check_heads, nothing_seen, score_scale
from anyformer.ops.attention.tiles import NORMALIZERS, TILE_ELEMENTS
from anyformer.precision import common, no_autocast, wide


def gathered_attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slots: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """The formula, one query at a time. Arguments as in :func:`gathered_attention`."""
    slots = _check(q, k, v, slots, bias)
    (_, H, T, K), V = q.shape, v.shape[3]
    dtype, repeat = wide(q.dtype), H // k.shape[1]
    keys, values = (t.to(dtype).repeat_interleave(repeat, 1) for t in (k, v))
    scale = score_scale(scale, K)
    outputs = []
    for t in range(T):
        at = slots[:, :, t].clamp_min(0)[..., None]
        chosen = keys.gather(2, at.expand(-1, -1, -1, K))
        scores = (chosen * q[:, :, t, None].to(dtype)).sum(-1) * scale
        if bias is not None:
            scores = scores + bias[:, :, t].to(dtype)
        scores = scores.masked_fill(slots[:, :, t] < 0, -torch.inf)
        nothing = (scores == -torch.inf).all(-1, keepdim=True)
        weights = scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)
        listed = values.gather(2, at.expand(-1, -1, -1, V)).masked_fill(slots[:, :, t, :, None] < 0, 0.0)
        outputs.append((weights[..., None] * listed).sum(2))
    y: Tensor = torch.stack(outputs, 2).to(q.dtype) if T else nothing_seen(q, k, v)
    return y


def _flops(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, **_: Any) -> int:
    B, H, T, K = q.shape
    return 2 * B * H * T * slots.shape[3] * (K + v.shape[3])


@primitive("gathered_attention", definition=gathered_attention_definition, flops=_flops, spread=ALONG_TIME)
def gathered_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slots: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of each query over its own N keys; time and memory T * N, whatever the number of keys.

    Args:
        q: (B, H, T, K).
        k: (B, G, S, K), v: (B, G, S, V), H a multiple of G.
        slots: (B or 1, H or 1, T, N) int64, the keys that each query sees, -1 = none. A key listed twice counts twice.
        bias: (B, H, T, N), or broadcastable to it: added to the scaled scores.
        scale: of the scores; 1 / sqrt(K) by default.

    Returns:
        y (B, H, T, V) in q's dtype; a query whose list is empty gets zeros.

    Raises:
        ValueError: for shapes that don't fit, and slots past the last key.
    """
    slots = _check(q, k, v, slots, bias)
    (B, H, T, K), S, N = q.shape, k.shape[2], slots.shape[3]
    scale = score_scale(scale, K)
    if B * T * N * S == 0:
        return nothing_seen(q, k, v)
    dtype = common(q, k, v)
    terms = None if bias is None else bias.to(dtype).expand(B, H, T, N)
    y, _ = _gathered(q.to(dtype), k.to(dtype), v.to(dtype), slots, terms, scale)
    return y.to(q.dtype)


def _check(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, bias: Tensor | None) -> Tensor:
    """Check the arguments; return slots expanded to (B, H, T, N)."""
    check_heads(q, k, v)
    (B, H, T, _), S = q.shape, k.shape[2]
    fits = slots.dim() == 4 and slots.shape[0] in (1, B) and slots.shape[1] in (1, H) and slots.shape[2] == T
    if not fits or slots.dtype != torch.int64:
        raise ValueError(
            f"slots must be int64 of shape ({B}, {H}, {T}, keys), got {tuple(slots.shape)} {slots.dtype}"
        )
    if not torch.compiler.is_compiling() and slots.numel() and int(slots.max()) >= S:
        raise ValueError(f"slots must be below the number of keys, {S}, got {int(slots.max())}")
    shape = (B, H, T, slots.shape[3])
    if bias is not None and (bias.dim() != 4 or any(a not in (1, b) for a, b in zip(bias.shape, shape))):
        raise ValueError(f"bias must be broadcastable to {shape}, got {tuple(bias.shape)}")
    return slots.expand(B, H, -1, -1)


# ---- blocks of queries ----------------------------------------------------------------------------------------


def _blocks(q: Tensor, v: Tensor, slots: Tensor) -> Iterator[slice]:
    """Yield blocks of queries whose gathered keys have TILE_ELEMENTS elements."""
    (B, H, T, K), N, V = q.shape, slots.shape[3], v.shape[3]
    rows = max(1, TILE_ELEMENTS // (B * H * N * max(K, V)))
    return (slice(start, start + rows) for start in range(0, T, rows))


def _listed(t: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """Gather t (B, G, S, K) at slots (B, H, C, N): rows (B, H, C, N, K), and their indices in t.flatten(0, 2)."""
    B, G, S, K = t.shape
    first = torch.arange(B * G, device=t.device).reshape(B, G).repeat_interleave(slots.shape[1] // G, 1) * S
    at = (slots.clamp_min(0) + first[..., None, None]).flatten()
    return t.reshape(B * G * S, K).index_select(0, at).reshape(*slots.shape, K), at


def _scores(q: Tensor, keys: Tensor, slots: Tensor, terms: Tensor | None, scale: float) -> Tensor:
    scores = (keys @ (q * scale)[..., None])[..., 0]
    return (scores if terms is None else scores + terms).masked_fill(slots < 0, -torch.inf)


def _all_at_once(
    q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Tensor | None, scale: float
) -> Tensor:
    """Return y with the keys of all lists gathered at once, for second derivatives."""
    weights, total, _ = NORMALIZERS["softmax"](_scores(q, _listed(k, slots)[0], slots, terms, scale))
    assert total is not None
    return (weights[..., None, :] @ _listed(v, slots)[0])[..., 0, :] / total


Maybe = Tensor | None
Gradients = tuple[Tensor, Tensor, Tensor, None, Maybe]


def _outputs(
    q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Maybe, scale: float
) -> tuple[Tensor, Tensor]:
    """Allocate y (B, H, T, V), laid out (B, T, H, V), and the log-sum-exp of the scores (B, H, T)."""
    (B, H, T, _), V = q.shape, v.shape[3]
    return empty_by_time(q, B, H, T, V), q.new_empty(B, H, T)


def _gradients(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Maybe, scale: float) -> Gradients:
    """Allocate the gradients of q, k, v and the bias: zeros where the kernel accumulates over queries."""
    (B, H, T, K), (G, S), V = q.shape, k.shape[1:3], v.shape[3]
    of_k, of_v = (empty_by_time(q, B, G, S, width, zeros=True) for width in (K, V))
    of_terms = None if terms is None else q.new_empty(slots.shape)
    return empty_by_time(q, B, H, T, K), of_k, of_v, None, of_terms


def _sizes(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Maybe, *more: Tensor) -> Tensor:
    """Return the kernels' table: sizes, then the strides over batch, heads and time of each tensor."""
    (B, H, T, K), G, V, N = q.shape, k.shape[1], v.shape[3], slots.shape[3]
    given = (q, k, v, slots, slots if terms is None else terms, *more)
    return torch.tensor([B, H, G, T, N, K, V, *(n for t in given for n in t.stride()[:3])])


def _native(
    q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    y, lse = _outputs(q, k, v, slots, terms, scale)
    q, k, v, slots, terms = rows(q), rows(k), rows(v), rows(slots), rows(terms)
    sizes = _sizes(q, k, v, slots, terms, y)
    kernels.run("gathered_attention", q, k, v, slots, terms, y, lse, sizes, scale)
    return y, lse


def _in_blocks(
    q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Maybe, scale: float
) -> tuple[Tensor, Tensor]:
    y, lse = _outputs(q, k, v, slots, terms, scale)
    with no_autocast(q):
        for at in _blocks(q, v, slots):
            some = None if terms is None else terms[:, :, at]
            scores = _scores(q[:, :, at], _listed(k, slots[:, :, at])[0], slots[:, :, at], some, scale)
            weights, total, found = NORMALIZERS["softmax"](scores)
            assert total is not None and found is not None
            y[:, :, at] = (weights[..., None, :] @ _listed(v, slots[:, :, at])[0])[..., 0, :] / total
            lse[:, :, at] = found
    return y, lse


def _refuses(q: Tensor, k: Tensor, v: Tensor, slots: Tensor, terms: Maybe, scale: float) -> str | None:
    return kernels.refuses(q, k, v, terms)


_PATHS = Paths(
    "gathered_attention",
    Path("native", "in C, the keys of each list read in place", _native, _refuses),
    Path(
        "PyTorch gather",
        "blocks of queries with the keys of their lists, recomputed in the backward",
        _in_blocks,
    ),
)


def _backward(grads: list[Tensor], kept: list[Tensor], needs: list[bool], *given: Any) -> tuple[Maybe, ...]:
    """With p = exp(s - lse) and d = grad . v, the gradient of a score is p (d - grad . y)."""
    grad, (y, lse), (q, k, v, slots, terms, scale) = grads[0], kept, given
    into = _gradients(*given)
    if kernels.refuses(grad, y, lse, q, k, v, terms) is not None:
        _blocks_backward(into, grad, y, lse, *given)
        return into
    q, k, v, slots, terms = rows(q), rows(k), rows(v), rows(slots), rows(terms)
    grad, y, lse = rows(grad), rows(y), dense(lse)
    sizes = _sizes(q, k, v, slots, terms, y, grad, *into[:3])
    given = (q, k, v, slots, terms, y, lse, grad, *into[:3], into[4])
    kernels.run("gathered_attention_backward", *given, sizes, scale)
    return into


def _blocks_backward(
    into: Gradients,
    grad: Tensor,
    y: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slots: Tensor,
    terms: Maybe,
    scale: float,
) -> None:
    grad_q, grad_k, grad_v, _, grad_terms = into
    flat_k, flat_v = (t.new_zeros(t.shape).flatten(0, 2) for t in (k, v))
    top = lse.masked_fill(lse == -torch.inf, 0.0)[..., None]
    mean = (grad * y).sum(-1, keepdim=True)
    with no_autocast(q):
        for at in _blocks(q, v, slots):
            lists, some = slots[:, :, at], None if terms is None else terms[:, :, at]
            (keys, places), (values, _) = _listed(k, lists), _listed(v, lists)
            scores = _scores(q[:, :, at], keys, lists, some, scale)
            p = (scores - top[:, :, at]).exp()
            ds = p * ((values @ grad[:, :, at, :, None])[..., 0] - mean[:, :, at])
            grad_q[:, :, at] = (ds[..., None, :] @ keys)[..., 0, :] * scale
            flat_k.index_add_(0, places, (ds[..., None] * (q[:, :, at, None] * scale)).flatten(0, 3))
            flat_v.index_add_(0, places, (p[..., None] * grad[:, :, at, None]).flatten(0, 3))
            if grad_terms is not None:
                grad_terms[:, :, at] = ds
    grad_k.copy_(flat_k.view(k.shape))
    grad_v.copy_(flat_v.view(v.shape))


_gathered = custom_op(
    _PATHS,
    "gathered_attention",
    outputs=_outputs,
    backward=_backward,
    gradients=_gradients,
    formula=_all_at_once,
    keeps=(0, 1),
)
