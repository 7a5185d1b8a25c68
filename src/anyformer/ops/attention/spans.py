"""Softmax attention where each query sees one span of the keys, and some extra keys: the native kernel.

Dense, sparse and bucketed attention run on it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._custom import custom_op
from anyformer.ops._memory import dense, empty_by_time, rows
from anyformer.ops.attention.tiles import attend_tile, distance
from anyformer.precision import common, wide


def refuses_spans(*tensors: Tensor) -> str | None:
    """Return why the kernel does not support these tensors, or None. Tensors narrower than float32 are widened."""
    library, why = kernels.status()
    if library is None:
        return why
    for x in tensors:
        if x.device.type != "cpu":
            return "the native kernels are for CPUs"
        if wide(x.dtype) not in kernels.SUFFIXES:
            return "the native kernels support floating-point tensors of up to 64 bits"
        if x.numel() == 0:
            return "a tensor is empty"
    return None


def can_attend(*tensors: Tensor) -> bool:
    """True if the kernel supports these tensors, so that ``places`` need no (T, S) bias."""
    return refuses_spans(*tensors) is None


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spans: Tensor,
    extra: Tensor | None = None,
    q_slot: Tensor | None = None,
    k_slot: Tensor | None = None,
    *,
    places: tuple[Tensor, Tensor] | None = None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Softmax attention of rows (queries) over spans of columns (keys), both in the order of token numbers.

    Args:
        q: (B, H, T, K), k: (B, G, S, K), v: (B, G, S, V), on the CPU.
        spans: (B or 1, R, 4) int32 (start, stop, extra_start, extra_stop): row r sees the columns in [start, stop), and
            the extra columns in [extra_start, extra_stop).
        extra: (B, E) int64, columns in ascending order, padded with -1.
        q_slot: (B, R) int64, the query of each row, -1 = none; by default R = T and rows are queries. No query
            may have two rows. k_slot: (B, S), the key of each column.
        places: (B, H, T) and (B, H, S) float64; |q_place_i - k_place_j| is taken from the scores.
        scale: of the scores.

    Returns:
        y (B, H, T, V) in q's dtype and lse (B, H, T) in at least float32; zeros and -inf where nothing is seen.
    """
    dtype = common(q, k, v)
    q_place = k_place = None
    if places is not None:
        (B, H, T, _), S = q.shape, k.shape[2]
        q_place, k_place = places[0].double().expand(B, H, T), places[1].double().expand(B, H, S)
    tensors = (x if x.dtype == dtype else x.to(dtype) for x in (q, k, v))
    y, lse = _attend(*tensors, spans, extra, q_slot, k_slot, q_place, k_place, scale)
    return y.to(q.dtype), lse


Maybe = Tensor | None


def _sizes(q: Tensor, k: Tensor, v: Tensor, spans: Tensor, extra: Tensor | None, grad: Tensor) -> Tensor:
    (B, H, T, K), (G, S), V = q.shape, k.shape[1:3], v.shape[3]
    R, E = spans.shape[1], 0 if extra is None else extra.shape[1]
    strides = [n for x in (q, k, v, grad) for n in x.stride()[:3]]
    return torch.tensor([B, H, G, R, T, S, K, V, E, 0 if spans.shape[0] == 1 else R, *strides])


def _outputs(
    q: Tensor, k: Tensor, v: Tensor, spans: Tensor, extra: Maybe, q_slot: Maybe, *more: Any
) -> tuple[Tensor, Tensor]:
    """Allocate y and lse: zeros and -inf for queries without a row, which the kernel does not write."""
    (B, H, T, _), V = q.shape, v.shape[3]
    y = empty_by_time(q, B, H, T, V, zeros=q_slot is not None)
    return y, q.new_empty(B, H, T) if q_slot is None else q.new_full((B, H, T), -torch.inf)


def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spans: Tensor,
    extra: Tensor | None,
    q_slot: Tensor | None,
    k_slot: Tensor | None,
    q_place: Tensor | None,
    k_place: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    y, lse = _outputs(q, k, v, spans, extra, q_slot)
    q, k, v = rows(q), rows(k), rows(v)
    where = [dense(x) for x in (spans, extra, q_slot, k_slot, q_place, k_place)]
    kernels.run("attend", q, k, v, *where, y, lse, _sizes(q, k, v, spans, extra, y), scale)
    return y, lse


def _gradients(q: Tensor, k: Tensor, v: Tensor, *where: Any) -> list[Maybe]:
    """Allocate the gradients of q, k, v and the places: zeros where the kernel accumulates over queries."""
    (B, H, T, K), (G, S), V = q.shape, k.shape[1:3], v.shape[3]
    of_k, of_v = (empty_by_time(q, B, G, S, width, zeros=True) for width in (K, V))
    places = [None if x is None else x.new_zeros(x.shape) for x in where[4:6]]
    return [empty_by_time(q, B, H, T, K, zeros=where[2] is not None), of_k, of_v, *(None,) * 4, *places]


def _backward(grads: list[Maybe], kept: list[Tensor], needs: list[bool], *given: Any) -> list[Maybe]:
    (q, k, v, *where), (y, lse), into = given, kept, _gradients(*given)
    grad = torch.zeros_like(y) if grads[0] is None else rows(grads[0])
    q, k, v = rows(q), rows(k), rows(v)
    known = [q, k, v, *(dense(x) for x in where[:6]), dense(y.transpose(1, 2)), dense(lse), grad]
    layout = _sizes(q, k, v, where[0], where[1], grad)
    kernels.run("attend_backward", *known, dense(grads[1]), *into[:3], *into[7:], layout, where[6])
    return into


def _all_pairs(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    spans: Tensor,
    extra: Tensor | None,
    q_slot: Tensor | None,
    k_slot: Tensor | None,
    q_place: Tensor | None,
    k_place: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return y and lse from the scores of all pairs at once, for second derivatives."""

    def fall(scores: Tensor) -> Tensor:
        assert q_place is not None and k_place is not None
        return scores - distance(q_place, k_place).to(scores.dtype)

    sees = _pairs(spans, extra, q_slot, k_slot, len(q), q.shape[2], k.shape[2])
    y, lse = attend_tile(q, k, v, sees[:, None], scale, adjust=None if q_place is None else fall)
    assert lse is not None
    return y, lse


def _pairs(
    spans: Tensor,
    extra: Tensor | None,
    q_slot: Tensor | None,
    k_slot: Tensor | None,
    B: int,
    T: int,
    S: int,
) -> Tensor:
    """Return the mask of visible pairs, (B, T, S) bool."""
    low, high, first, last = (x[..., None] for x in spans.expand(B, -1, -1).unbind(-1))
    column = torch.arange(S, device=spans.device)
    sees = (column >= low) & (column < high)  # rows and columns
    if extra is not None:
        chosen = (extra[:, None] >= first) & (extra[:, None] < last) & (extra >= 0)[:, None]
        to = extra.clamp_min(0)[:, None].expand(chosen.shape)
        sees = sees | (torch.zeros_like(sees, dtype=torch.int64).scatter_add(2, to, chosen.long()) > 0)
    if k_slot is not None:
        to = k_slot.masked_fill(k_slot < 0, S)[:, None].expand(sees.shape)
        sees = sees.new_zeros(B, sees.shape[1], S + 1).scatter(2, to, sees)[..., :S]
    if q_slot is not None:
        to = q_slot.masked_fill(q_slot < 0, T)[..., None].expand(sees.shape)
        sees = sees.new_zeros(B, T + 1, S).scatter(1, to, sees)[:, :T]
    return sees


_attend = custom_op(
    _forward,
    "attend",
    outputs=_outputs,
    backward=_backward,
    gradients=_gradients,
    formula=_all_pairs,
    keeps=(0, 1),
)
