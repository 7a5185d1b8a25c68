"""The paths of linear attention, and the custom operator of the native one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer import kernels
from anyformer.ops._custom import custom_op
from anyformer.ops._gate import Path, Paths, needs_custom_op
from anyformer.ops._matrix_state import KEEP, sizes
from anyformer.ops._memory import dense, empty_dense, empty_rows, rows
from anyformer.ops.linear_attention.chunks import in_pytorch

Maybe = Tensor | None


def _refuses(*given: Any) -> str | None:
    return kernels.refuses(*given[:5]) if given[7] else "with causal=False one matrix product is enough"


def _native(
    q: Tensor, k: Tensor, v: Tensor, d: Maybe, S: Tensor, scale: float | None, normalize: bool, causal: bool
) -> tuple[Tensor, Tensor]:
    inputs, by = (q, k, v, d, S), 1.0 if scale is None else scale
    if needs_custom_op(*inputs):
        y, final, _, _ = _linear_attention(*inputs, by, normalize)
        return y, final
    y, final = empty_rows(v), empty_dense(S)
    total = v.new_empty(q.shape[:3]) if normalize else None
    _run_forward(*inputs, by, normalize, y, final, None, total)
    return y, final


PATHS = Paths(
    "linear_attention",
    Path("native", "in C, 16 tokens at a time along each head, the state in cache", _native, _refuses),
    Path("chunks", "chunks as batched matrix products in PyTorch", in_pytorch),
)


def _outputs(
    q: Tensor, k: Tensor, v: Tensor, d: Maybe, S: Tensor, scale: float, normalize: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Allocate y, the last state, the states kept for the backward, and the sums of weights."""
    B, H, T, _ = q.shape
    kept = S.new_empty(B, H, (T - 1) // KEEP, *S.shape[2:])
    return empty_rows(v), empty_dense(S), kept, v.new_empty(B, H, T if normalize else 0)


def _run_forward(
    q: Tensor, k: Tensor, v: Tensor, d: Maybe, S: Tensor, scale: float, normalize: bool, *outputs: Maybe
) -> None:
    q, k, v, d = rows(q), rows(k), rows(v), rows(d)
    layout = sizes(q, v, d, normalize, q, k, v, outputs[0], d)
    kernels.run("linear_attention", q, k, v, d, dense(S), *outputs, layout, float(scale))


def _forward(
    q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor, scale: float, normalize: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = (q, k, v, d, S, scale, normalize)
    outputs = _outputs(*given)
    _run_forward(*given, *outputs)
    return outputs


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, d: Maybe, S: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Maybe, Tensor]:
    return empty_rows(q), empty_rows(k), empty_rows(v), None if d is None else empty_dense(d), empty_dense(S)


def _backward(
    coming: list[Maybe], outputs: list[Tensor], needs: list[bool], *given: Any
) -> tuple[Maybe, ...]:
    (q, k, v, d, S, scale, normalize), (*grads, grad_d, grad_S) = given, _gradients(*given)
    (y, kept, total), grad_d = outputs, grad_d if needs[3] else None
    grad = torch.zeros_like(y) if coming[0] is None else coming[0]
    q, k, v, d, y, grad = rows(q), rows(k), rows(v), rows(d), rows(y), rows(grad)
    inputs = (q, k, v, d, dense(S), y, dense(kept), dense(total), grad, dense(coming[1]))
    layout = sizes(q, v, d, normalize, q, k, v, y, d, grad, *grads)
    kernels.run("linear_attention_backward", *inputs, *grads, grad_d, grad_S, layout, float(scale))
    return *grads, grad_d, grad_S


_linear_attention = custom_op(
    _forward,
    "linear_attention",
    outputs=_outputs,
    backward=_backward,
    gradients=_gradients,
    formula=in_pytorch,
    keeps=(0, 2, 3),
)
