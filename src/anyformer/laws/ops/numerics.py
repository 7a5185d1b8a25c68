"""Laws of an op's numbers: the fast form is the definition, also where they are not finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from anyformer.laws.case import LawBroken
from anyformer.laws.ops.cases import OpCase, op_cases
from anyformer.laws.ops.measures import (
    Tensors,
    differentiable,
    everything,
    flat,
    same,
)
from anyformer.laws.registry import register_op_law
from anyformer.ops import Spread, load_all, use_definition, use_native


@register_op_law("definition")
def definition(case: OpCase) -> None:
    """The fast form gives what the definition gives: outputs and every gradient."""
    with use_definition():
        expected = everything(case, case.tensors)
    same("fast form", everything(case, case.tensors), expected)


@register_op_law("not finite")
def not_finite(case: OpCase) -> None:
    """What is not a finite number shows exactly where it does in the definition, and in the same samples' gradients.

    An op may state axes along which it shows in more places (:class:`anyformer.ops.Spread`), as where it multiplies
    whole tiles: zero times NaN is NaN.
    """
    spread = spread_of(case.op)
    for where, found, expected in _not_finite(case):
        hidden, more = ~found & expected, found & ~expected
        if bool(hidden.any()):
            raise LawBroken(f"{where} is hidden")
        if bool((more & ~_along_axes(expected, () if spread is None else spread.axes)).any()):
            raise LawBroken(f"{where} spreads{'' if spread is None else ' beyond what the op states'}")
    for where, name, more in _gradients_not_finite(case):
        if bool(more.any()):
            raise LawBroken(f"{where} spreads to another sample of the {name}")


def spreads(name: str) -> bool:
    """Whether a call of the op, with or without kernels, shows what is not finite where its definition does not."""
    for native in (True, False):
        with use_native(native):
            for case in op_cases(ops={name}):
                if any(bool((found & ~expected).any()) for _, found, expected in _not_finite(case)):
                    return True
    return False


def spread_of(op: str) -> Spread | None:
    """The axes along which the op says that it spreads what is not finite."""
    known = load_all().get(op)
    return None if known is None else known.spread


def _spoilt(case: OpCase, numbers: Iterable[float], places: int) -> Iterator[tuple[str, Tensors]]:
    """The case's tensors with one element of one of them replaced, in ``places`` from the first to the last."""
    for name, t in case.tensors.items():
        if not differentiable(t) or name in case.fixed or t.numel() == 0:
            continue
        for number in numbers:
            for i in range(places):
                spoilt = t.clone(memory_format=torch.contiguous_format)
                spoilt.view(-1)[i * (t.numel() - 1) // (places - 1)] = number
                yield f"{number} in {name}", {**case.tensors, name: spoilt}


def _not_finite(case: OpCase) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Where each output is not finite, of the fast form and of the definition."""
    for numbers, places in (((torch.nan,), 4), ((torch.inf, -torch.inf), 2)):
        for what, given in _spoilt(case, numbers, places):
            with torch.no_grad():
                found = flat(case.call(**given))
                with use_definition():
                    expected = flat(case.call(**given))
            for i, (a, b) in enumerate(zip(found, expected, strict=True)):
                yield f"{what}, in output {i},", ~a.isfinite(), ~b.isfinite()


def _gradients_not_finite(case: OpCase) -> Iterator[tuple[str, str, Tensor]]:
    """Of each gradient, (B,): whether it is not finite in a sample, though it and the outputs are in the definition."""
    for what, given in _spoilt(case, (torch.nan,), 2):
        found = everything(case, given)
        with use_definition():
            expected = everything(case, given)
        outputs = [t for name, t in expected.items() if name.startswith("output") and t.dim()]
        samples = len(outputs[0]) if outputs else 0
        sound = [t.reshape(samples, -1).isfinite().all(1) for t in outputs if len(t) == samples]
        for name, t in expected.items():
            if name.startswith("gradient") and t.dim() > 1 and len(t) == samples > 1:
                mine, theirs = (x.flatten(1).isfinite().all(1) for x in (found[name], t))
                yield what, name, torch.stack([theirs, *sound]).all(0) & ~mine


def _along_axes(where: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``where``, and all along these axes from there."""
    for axis in axes:
        if axis < where.dim():
            where = where.any(axis, keepdim=True).expand_as(where)
    return where
