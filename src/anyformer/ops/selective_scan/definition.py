"""The loop, its checks, its cost, and the length of chunks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from anyformer.precision import common

ENOUGH = 1 << 13  # state elements that keep a kernel busy


def selective_scan_definition(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None = None,
    *,
    initial: Tensor | None = None,
    gate: Tensor | None = None,
    dt_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """The loop; see :func:`selective_scan`."""
    x, dt, A, B_, C_, skip, h, gate, dtype = prepare(x, dt, A, B_, C_, skip, initial, gate)
    dt = softplus(dt) if dt_softplus else dt
    outputs = []
    for t in range(x.shape[-1]):
        step = dt[:, :, t, None]
        h = (step * A).exp() * h + step * B_[:, None, :, t] * x[:, :, t, None]
        outputs.append((h * C_[:, None, :, t]).sum(-1))
    y = torch.stack(outputs, -1) if outputs else x
    y = y if skip is None else y + skip[:, None] * x
    return (y if gate is None else y * silu(gate)).to(dtype), h


def selective_scan_flops(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    *_: Any,
    gate: Tensor | None = None,
    dt_softplus: bool = False,
    **__: Any,
) -> int:
    """Nine operations a state and token (two exponents, two steps, one product), five where T is one chunk."""
    K, T = A.shape[1], x.shape[-1]
    around = 3 + 5 * (gate is not None) + 4 * dt_softplus
    return x.numel() * ((9 if chunk_length(T, len(x) * A.numel()) < T else 5) * K + around)


def prepare(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B_: Tensor,
    C_: Tensor,
    skip: Tensor | None,
    initial: Tensor | None,
    gate: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor | None, torch.dtype]:
    """Check and widen the arguments."""
    if x.dim() != 3 or dt.shape != x.shape:
        raise ValueError(
            f"x and dt must share one shape (B, D, T), got {tuple(x.shape)} and {tuple(dt.shape)}"
        )
    B, D, T = x.shape
    if A.dim() != 2 or A.shape[0] != D:
        raise ValueError(f"A must have shape ({D}, K), got {tuple(A.shape)}")
    K = A.shape[1]
    for name, value, shape in (
        ("B_", B_, (B, K, T)),
        ("C_", C_, (B, K, T)),
        ("skip", skip, (D,)),
        ("initial", initial, (B, D, K)),
        ("gate", gate, (B, D, T)),
    ):
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    dtype, float_ = x.dtype, common(x, A)
    x, dt, A, B_, C_ = (value.to(float_) for value in (x, dt, A, B_, C_))
    skip, gate = (None if value is None else value.to(float_) for value in (skip, gate))
    initial = x.new_zeros(B, D, K) if initial is None else initial.to(float_)
    return x, dt, A, B_, C_, skip, initial, gate, dtype


def chunk_length(T: int, state: int) -> int:
    """Return the tokens per chunk: all, where they are few and one state keeps a kernel busy, else as many as keep the
    native backward's working set in the first-level cache."""
    if T <= 64 and state >= ENOUGH:
        return T
    longest = 16 if T <= 512 else 32
    return -(-T // -(-T // longest))  # equal chunks
