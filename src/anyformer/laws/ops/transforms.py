"""Laws of an op under ``torch.func``: tangents, gradients of gradients, and ``vmap``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from anyformer.laws.case import LawBroken
from anyformer.laws.ops.cases import OpCase
from anyformer.laws.ops.measures import (
    Tensors,
    differentiable,
    flat,
    same,
    weights_for,
)
from anyformer.laws.registry import register_op_law
from anyformer.ops import use_definition


@register_op_law("forward mode")
def forward_mode(case: OpCase) -> None:
    """Derivatives along tangents, by ``torch.func.jvp`` and by dual tensors, agree with the gradients."""
    starts = {name: t for name, t in case.tensors.items() if differentiable(t)}
    if not starts or not _along(case, starts, [*starts.values()]):
        return
    outputs, backward = torch.func.vjp(lambda *t: _along(case, starts, t), *starts.values())[:2]
    weights = tuple(weights_for(y) for y in outputs)
    tangents = tuple(weights_for(t) for t in starts.values())
    expected = sum(_inner(g, t) for g, t in zip(backward(weights), tangents, strict=True))
    for how, along in (("torch.func.jvp", _by_jvp), ("dual tensors", _by_duals)):
        found = sum(
            _inner(w, d) for w, d in zip(weights, along(case, starts, tangents), strict=True) if d is not None
        )
        same(how, {"the derivative": torch.as_tensor(found)}, {"the derivative": torch.as_tensor(expected)})


@register_op_law("second order")
def second_order(case: OpCase) -> None:
    """The gradient of a gradient is that of the definition, also if two arguments depend on each other; or PyTorch
    raises an error, and a warning has said how to get it."""
    with use_definition():
        expected = _second(case)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = _second(case)
        except RuntimeError as error:
            if not any("use_definition" in str(warning.message) for warning in said):
                raise LawBroken(f"twice: not said how to get it: {error}") from None
            return
    same("twice", found, expected)


@register_op_law("vmap")
def batched(case: OpCase) -> None:
    """``torch.func.vmap`` over all floating-point arguments gives the outputs and gradients of separate calls."""
    starts = {name: torch.stack((t, 0.5 * t)) for name, t in case.tensors.items() if differentiable(t)}

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        return _along(case, starts, given)

    if not starts or not _along(case, starts, [t[0] for t in starts.values()]):
        return
    each = [[t[i] for t in starts.values()] for i in range(2)]
    found, expected = torch.func.vmap(call)(*starts.values()), [call(*given) for given in each]
    same("vmap", _named(found), _named([torch.stack(ys) for ys in zip(*expected, strict=True)]))

    def slopes(*given: Tensor) -> tuple[Tensor, ...]:
        y, backward = torch.func.vjp(call, *given)[:2]
        grads: tuple[Tensor, ...] = backward(tuple(weights_for(t) for t in y))
        return grads

    found, expected = torch.func.vmap(slopes)(*starts.values()), [slopes(*given) for given in each]
    same("gradients under vmap", _named(found), _named([torch.stack(g) for g in zip(*expected, strict=True)]))


def _along(case: OpCase, starts: Tensors, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run a call with new values for ``starts``; returns the outputs that have derivatives."""
    outputs = flat(case.call(**{**case.tensors, **dict(zip(starts, given, strict=True))}))
    return tuple(y for y in outputs if differentiable(y))


def _inner(a: Tensor, b: Tensor) -> float:
    return float((a.conj() * b).sum().real)


def _by_jvp(case: OpCase, starts: Tensors, tangents: tuple[Tensor, ...]) -> Sequence[Tensor | None]:
    found: tuple[Tensor, ...] = torch.func.jvp(
        lambda *t: _along(case, starts, t), tuple(starts.values()), tangents
    )[1]
    return found


def _by_duals(case: OpCase, starts: Tensors, tangents: tuple[Tensor, ...]) -> Sequence[Tensor | None]:
    with forward_ad.dual_level():
        given = [forward_ad.make_dual(t, d) for t, d in zip(starts.values(), tangents, strict=True)]
        return [forward_ad.unpack_dual(y).tangent for y in _along(case, starts, given)]


def _second(case: OpCase) -> Tensors:
    base = {name: t.clone().requires_grad_() for name, t in case.tensors.items() if differentiable(t)}
    shift = sum((t.abs().sum() for t in base.values()), torch.zeros(()))
    starts = {name: t + 1e-3 * shift for name, t in base.items()}  # each depends on all the others
    outputs = [y for y in _along(case, starts, [*starts.values()]) if y.requires_grad]
    if not outputs:
        return {}
    grads = torch.autograd.grad(
        outputs, [*base.values()], [weights_for(y) for y in outputs], create_graph=True
    )
    total = sum((g * weights_for(g)).sum().abs() for g in grads)
    if not isinstance(total, Tensor) or not total.requires_grad:
        return {}
    again = torch.autograd.grad(total, [*base.values()], allow_unused=True)
    return {name: g for name, g in zip(base, again, strict=True) if g is not None}


def _named(outputs: Sequence[Tensor]) -> Tensors:
    return {f"output {i}": y for i, y in enumerate(outputs)}
