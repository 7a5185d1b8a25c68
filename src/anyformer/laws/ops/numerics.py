"""Laws of an op's numerics: the fast form equals the definition, also for numbers that are not finite."""

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
    """The fast form equals the definition: outputs and every gradient."""
    with use_definition():
        expected = everything(case, case.tensors)
    same("fast form", everything(case, case.tensors), expected)


@register_op_law("not finite")
def not_finite(case: OpCase) -> None:
    """NaN and infinity appear in exactly the outputs where the definition has them, and in no other sample's gradient.

    An op may declare axes along which they spread further (:class:`anyformer.ops.Spread`), for instance because it
    multiplies whole tiles: zero times NaN is NaN.
    """
    spread = spread_of(case.op)
    for where, found, expected in _not_finite(case):
        hidden, more = ~found & expected, found & ~expected
        if bool(hidden.any()):
            raise LawBroken(f"{where} is hidden")
        if bool((more & ~_along_axes(expected, () if spread is None else spread.axes)).any()):
            raise LawBroken(f"{where} spreads{'' if spread is None else ' beyond what the op declares'}")
    for where, name, more in _gradients_not_finite(case):
        if bool(more.any()):
            raise LawBroken(f"{where} spreads to another sample of the {name}")


def spreads(name: str) -> bool:
    """Return True if NaN or infinity spreads further than in the definition, in some call, with or without kernels."""
    for native in (True, False):
        with use_native(native):
            for case in op_cases(ops={name}):
                if any(bool((found & ~expected).any()) for _, found, expected in _not_finite(case)):
                    return True
    return False


def spread_of(op: str) -> Spread | None:
    """Return the axes along which the op declares that NaN and infinity spread; None if there are none."""
    known = load_all().get(op)
    return None if known is None else known.spread


def _poisoned(case: OpCase, numbers: Iterable[float], count: int) -> Iterator[tuple[str, Tensors]]:
    """Yield the tensors of a case with one element replaced, at ``count`` positions from the first to the last."""
    for name, t in case.tensors.items():
        if not differentiable(t) or name in case.fixed or t.numel() == 0:
            continue
        for number in numbers:
            for i in range(count):
                poisoned = t.clone(memory_format=torch.contiguous_format)
                poisoned.view(-1)[i * (t.numel() - 1) // (count - 1)] = number
                yield f"{number} in {name}", {**case.tensors, name: poisoned}


def _not_finite(case: OpCase) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield masks of each output's elements that are not finite, in the fast form and in the definition."""
    for numbers, count in (((torch.nan,), 4), ((torch.inf, -torch.inf), 2)):
        for what, given in _poisoned(case, numbers, count):
            with torch.no_grad():
                found = flat(case.call(**given))
                with use_definition():
                    expected = flat(case.call(**given))
            for i, (a, b) in enumerate(zip(found, expected, strict=True)):
                yield f"{what}, in output {i},", ~a.isfinite(), ~b.isfinite()


def _gradients_not_finite(case: OpCase) -> Iterator[tuple[str, str, Tensor]]:
    """Yield for each gradient a mask (B,) of samples where it is not finite although the definition's results are."""
    for what, given in _poisoned(case, (torch.nan,), 2):
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
    """Extend a mask along these axes: True wherever it is True at any index of them."""
    for axis in axes:
        if axis < where.dim():
            where = where.any(axis, keepdim=True).expand_as(where)
    return where
