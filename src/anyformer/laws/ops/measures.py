"""Measurements that the laws over ops share: all results of a call, and their comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from anyformer.laws.case import LawBroken
from anyformer.laws.ops.cases import OpCase

Tensors = dict[str, Tensor]


def flat(result: Any) -> list[Tensor]:
    """Return the tensors of a result, out of nested tuples."""
    if result is None:
        return []
    return [result] if isinstance(result, Tensor) else [t for part in result for t in flat(part)]


def everything(
    case: OpCase, tensors: Mapping[str, Tensor], lay: Callable[[Tensor], Tensor] = lambda t: t
) -> Tensors:
    """Run a call; returns its outputs, without and with autograd, and the gradient of each argument, by name.

    Args:
        lay: changes the memory layout of the outputs' gradients.
    """
    with torch.no_grad():
        found = {f"output {i} without gradient": t for i, t in enumerate(flat(case.call(**tensors)))}
    leaves = {name: t.detach().requires_grad_(differentiable(t)) for name, t in tensors.items()}
    outputs = flat(case.call(**leaves))
    found |= {f"output {i}": t.detach() for i, t in enumerate(outputs)}
    ends = [t for t in outputs if t.requires_grad]
    starts = {name: t for name, t in leaves.items() if t.requires_grad}
    found["whether there is a gradient"] = torch.tensor(bool(ends))
    if ends and starts:
        grads = torch.autograd.grad(
            ends, [*starts.values()], [lay(weights_for(t)) for t in ends], allow_unused=True
        )
        found |= {f"gradient of {n}": g for n, g in zip(starts, grads, strict=True) if g is not None}
    return found


def everything_or_refused(case: OpCase) -> Tensors | None:
    """Run a call as :func:`everything` does, with zeros for missing gradients; None if it raises ``ValueError``."""
    try:
        found = everything(case, case.tensors)
    except ValueError:
        return None
    zeros = {f"gradient of {n}": torch.zeros_like(t) for n, t in case.tensors.items() if differentiable(t)}
    return zeros | found


def differentiable(t: Tensor) -> bool:
    """Return True for dtypes that can have gradients."""
    return t.dtype.is_floating_point or t.is_complex()


def weights_for(t: Tensor) -> Tensor:
    """Return weights that tell the elements of t apart; they are not random, which ``vmap`` forbids."""
    return (torch.arange(t.numel(), dtype=torch.float64) * 1.7 + 0.4).sin().reshape(t.shape).to(t.dtype)


def same(what: str, found: Tensors, expected: Tensors) -> None:
    """Check that both have the same tensors, equal in shape, dtype and, up to rounding, in value.

    Raises:
        LawBroken: if not.
    """
    if found.keys() != expected.keys():
        raise LawBroken(f"{what}: {', '.join(sorted(found.keys() ^ expected.keys()))} is there once only")
    for name, a in found.items():
        b = expected[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise LawBroken(
                f"{what}: {name} is {a.dtype} {tuple(a.shape)} instead of {b.dtype} {tuple(b.shape)}"
            )
        if a.numel() == 0:
            continue
        if not a.dtype.is_floating_point and not a.is_complex():
            if not torch.equal(a, b):
                raise LawBroken(f"{what}: {name} is not the same")
            continue
        tolerance = 1e-10 if b.dtype in (torch.float64, torch.complex128) else 1e-5
        size = b.abs().nan_to_num(0.0, 0.0).max().clamp_min(1.0)
        if not torch.allclose(a / size, b / size, rtol=0.0, atol=tolerance, equal_nan=True):
            raise LawBroken(
                f"{what}: {name} is off by {float(((a - b).abs() / size).nan_to_num(torch.inf).max()):.1e}"
            )
