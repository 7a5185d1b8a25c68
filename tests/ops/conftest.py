from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.ops import use_definition, use_native


def _flat(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [t for part in result for t in _flat(part)]


def _run(op: Callable[..., Any], arguments: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradient of every floating argument from all outputs weighted at random."""
    leaves = {k: v.detach().clone().requires_grad_() for k, v in arguments.items() if isinstance(v, Tensor)}
    outputs = _flat(op(**{**arguments, **leaves}))
    torch.manual_seed(1)
    loss = sum((o * torch.randn(o.shape, dtype=o.dtype)).sum().abs() for o in outputs if o.requires_grad)
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return [o.detach() for o in outputs], [torch.zeros(()) if g is None else g for g in grads]


@pytest.fixture
def agrees() -> Callable[..., None]:
    """The fast forms, native and not, give what the definition gives: outputs, final state, every gradient."""

    def check(op: Callable[..., Any], tolerance: float = 1e-9, **arguments: Any) -> None:
        with use_definition():
            slow = _run(op, arguments)
        for native in (True, False):
            with use_native(native):
                compare(_run(op, arguments), slow, tolerance)

    def compare(fast: Any, slow: Any, tolerance: float) -> None:
        for kind, mine, theirs in zip(("output", "gradient"), fast, slow):
            for number, (a, b) in enumerate(zip(mine, theirs)):
                assert a.shape == b.shape and a.dtype == b.dtype, f"{kind} {number}"
                assert torch.isfinite(torch.view_as_real(a) if a.is_complex() else a).all(), (
                    f"{kind} {number}"
                )
                error = (a - b).abs().max() / b.abs().max().clamp_min(1e-30) if a.numel() else 0.0
                assert error <= tolerance, f"{kind} {number} is off by {error:.1e} relative"

    return check
