"""What sparse and dense attention share: the native form where each query sees a stretch of the keys, the fused one."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer import kernels
from anyformer.ops._eager import gradients_again
from anyformer.ops._layout import dense, room_by_time, rows
from anyformer.precision import common, wide


@torch.compiler.assume_constant_result
def _library() -> str | None:
    return kernels.status().library


@torch.compiler.assume_constant_result
def _has_matrix_unit() -> bool:
    return torch.cpu._is_amx_tile_supported()


def can_attend(*tensors: Tensor) -> bool:
    """Whether the kernel can take these tensors, none empty, widened where they are narrower than float32."""
    taken = all(x.device.type == "cpu" and wide(x.dtype) in kernels.SUFFIXES and x.numel() for x in tensors)
    return taken and _library() is not None


def beats_fused(q: Tensor, k: Tensor) -> bool:
    """Whether the kernel is faster than PyTorch's fused one where both can be used, by what was measured.

    With vectors of 64 bytes it is, 1.1 to 2.2 times, from some work on. With shorter ones PyTorch's matrix products
    are as fast or faster, and so they are in bfloat16 where the CPU has a unit for it.
    """
    (B, H, T, _), S = q.shape, k.shape[2]
    if T < 32 or B * H * T * S < 2**19 or _library() != "avx512":
        return False
    return wide(q.dtype) == q.dtype or not _has_matrix_unit()


def score_scale(scale: float | None, K: int) -> float:
    """``scale``, or 1 / sqrt(K); one where there is no width, and so no score but zero."""
    return max(K, 1) ** -0.5 if scale is None else scale


def nothing_seen(q: Tensor, k: Tensor, v: Tensor, return_lse: bool = False) -> Any:
    """What queries get that see no key: zeros (B, H, T, V), which autograd still knows to come from q, k and v, and
    a log-sum-exp of -inf (B, H, T)."""
    k, v = (t[:, :, :0].to(q.dtype).repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    y = q @ k.mT @ v
    lse = torch.full(q.shape[:3], -torch.inf, dtype=wide(q.dtype), device=q.device)
    return (y, lse) if return_lse else y


def fused(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """PyTorch's fused attention. It has no second derivative: who asks for one is told how to get it."""
    y = F.scaled_dot_product_attention(q, k, v, **options)
    if y.requires_grad and not torch.compiler.is_compiling() and torch.backends.cuda.flash_sdp_enabled():
        y.register_hook(_say_how)
    return y


def _say_how(grad: Tensor) -> None:
    if torch.is_grad_enabled():
        warnings.warn(
            "attention: PyTorch's fused kernel has no second derivative; for the gradient of a gradient, run the "
            "forward under `anyformer.ops.use_definition()` (slow) or "
            "`torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)`",
            stacklevel=2,
        )


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
    """Softmax attention of rows (queries) over stretches of columns (keys), both counted in the order of numbers.

    Args:
        q: (B, H, T, K), k: (B, G, S, K), v: (B, G, S, V), on the CPU.
        spans: (B or 1, R, 4) int32: row r sees the columns from [0] up to before [1], and of the extra columns
            those from column [2] up to before [3] too.
        extra: (B, E) int64, columns in ascending order, then -1.
        q_slot: (B, R) int64, which query each row is, -1 = none; by default R = T and rows are queries. No query
            may be two rows. k_slot: (B, S) likewise for columns.
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


def _sizes(q: Tensor, k: Tensor, v: Tensor, spans: Tensor, extra: Tensor | None, grad: Tensor) -> Tensor:
    (B, H, T, K), (G, S), V = q.shape, k.shape[1:3], v.shape[3]
    R, E = spans.shape[1], 0 if extra is None else extra.shape[1]
    strides = [n for x in (q, k, v, grad) for n in x.stride()[:3]]
    return torch.tensor([B, H, G, R, T, S, K, V, E, 0 if spans.shape[0] == 1 else R, *strides])


@torch.library.custom_op("anyformer::attend", mutates_args=())
def _attend(
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
    (B, H, T, _), V = q.shape, v.shape[3]
    y = room_by_time(q, B, H, T, V, zeros=q_slot is not None)
    lse = q.new_full((B, H, T), -torch.inf) if q_slot is not None else q.new_empty(B, H, T)
    q, k, v = rows(q), rows(k), rows(v)
    where = [dense(x) for x in (spans, extra, q_slot, k_slot, q_place, k_place)]
    kernels.run("attend", q, k, v, *where, y, lse, _sizes(q, k, v, spans, extra, y), scale)
    return y, lse


@_attend.register_fake
def _(
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
    B, H, T, _ = q.shape
    return room_by_time(q, B, H, T, v.shape[3]), q.new_empty(B, H, T)


@torch.library.custom_op("anyformer::attend_backward", mutates_args=())
def _attend_backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    y: Tensor,
    lse: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    (B, H, T, K), (G, S), V = q.shape, k.shape[1:3], v.shape[3]
    grads = [room_by_time(q, B, H, T, K, zeros=q_slot is not None)]
    grads += [room_by_time(q, B, G, S, width, zeros=True) for width in (K, V)]
    places = [q.new_zeros(0 if x is None else x.shape, dtype=torch.float64) for x in (q_place, k_place)]
    q, k, v, grad = rows(q), rows(k), rows(v), rows(grad)
    where = [dense(x) for x in (spans, extra, q_slot, k_slot, q_place, k_place)]
    known = (q, k, v, *where, dense(y.transpose(1, 2)), dense(lse), grad, dense(grad_lse))
    into = [*grads, *(places if q_place is not None else (None, None))]
    kernels.run("attend_backward", *known, *into, _sizes(q, k, v, spans, extra, grad), scale)
    return grads[0], grads[1], grads[2], places[0], places[1]


@_attend_backward.register_fake
def _(
    grad: Tensor,
    grad_lse: Tensor | None,
    y: Tensor,
    lse: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    (B, H, T, K), (G, S), V = q.shape, k.shape[1:3], v.shape[3]
    places = [q.new_empty(0 if x is None else x.shape, dtype=torch.float64) for x in (q_place, k_place)]
    of_k, of_v = (room_by_time(q, B, G, S, width) for width in (K, V))
    return room_by_time(q, B, H, T, K), of_k, of_v, places[0], places[1]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*output, *tensors)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
    y, lse, *inputs = ctx.saved_tensors
    if torch.is_grad_enabled():
        formula, needed = partial(_all_pairs, scale=ctx.scale), ctx.needs_input_grad[:9]
        return *gradients_again(formula, inputs, needed, grad, grad_lse), None
    grad = torch.zeros_like(y) if grad is None else grad
    grads = _attend_backward(grad, grad_lse, y, lse, *inputs, ctx.scale)
    places = [None if x is None else g for x, g in zip(inputs[-2:], grads[3:], strict=True)]
    return *grads[:3], None, None, None, None, *places, None


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
    """y and lse with the scores of all pairs at once: for those who differentiate it twice."""
    from anyformer.ops.attention import attend_tile, distance

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
    """(B, T, S) bool: which query sees which key."""
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


_attend.register_autograd(_backward, setup_context=_save)
