"""Laws of memory: an op's results do not depend on the layout of its tensors, and empty tensors are handled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from anyformer.laws.case import LawBroken
from anyformer.laws.ops.cases import OpCase, Sizes
from anyformer.laws.ops.measures import (
    everything,
    everything_or_refused,
    same,
)
from anyformer.laws.registry import register_op_law
from anyformer.ops import use_definition


@register_op_law("layouts")
def layouts(case: OpCase) -> None:
    """The results are those for contiguous tensors, whatever the memory layout of arguments and gradients."""
    tensors = {name: t.contiguous() for name, t in case.tensors.items()}
    plain = everything(case, tensors)
    if not all(t.is_contiguous() for t in case.tensors.values()):
        same("as the arguments lie", everything(case, case.tensors), plain)
    for name in tensors:
        for layout, laid in _layouts_of(tensors[name], name in case.fixed):
            dense = {**tensors, name: laid.resolve_neg().contiguous()}
            expected = plain if layout in _SAME_VALUES else everything(case, dense)
            same(f"{name} {layout}", everything(case, {**tensors, name: laid}), expected)
    for layout, lay in _SAME_VALUES.items():
        same(f"all arguments {layout}", everything(case, {n: lay(t) for n, t in tensors.items()}), plain)
        same(f"gradients {layout}", everything(case, tensors, lay), plain)
    for layout, lay in _OTHER_VALUES.items():
        expected = everything(case, tensors, lambda t: lay(t).contiguous())  # noqa: B023
        same(f"gradients {layout}", everything(case, tensors, lay), expected)


def _layouts_of(t: Tensor, fixed: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield a tensor in every layout that differs from its own."""
    for name, lay in (_SAME_VALUES if fixed else _SAME_VALUES | _OTHER_VALUES).items():
        laid = lay(t)
        if laid is not t:
            yield name, laid


def _backwards(t: Tensor) -> Tensor:
    """Lay out the axes in the opposite order."""
    return (
        t.mT.contiguous().mT
        if t.dim() == 2
        else t.permute(*range(t.dim())[::-1]).contiguous().permute(*range(t.dim())[::-1])
    )


def _swapped(t: Tensor) -> Tensor:
    """Lay out the last two axes in the opposite order."""
    return t.mT.contiguous().mT if t.dim() > 1 else t


def _strided(t: Tensor, axis: int) -> Tensor:
    """Lay out with stride 3 along an axis, and junk between neighbours."""
    if t.dim() < -axis:
        return t
    buffer = _junk(t, [n * 3 if i == t.dim() + axis else n for i, n in enumerate(t.shape)])
    index = [slice(None)] * t.dim()
    index[axis] = slice(1, None, 3)
    buffer[tuple(index)] = t
    return buffer[tuple(index)]


def _at_offset(t: Tensor) -> Tensor:
    """Lay out in the middle of a buffer of junk."""
    buffer = _junk(t, [t.numel() + 12])
    buffer[5 : 5 + t.numel()] = t.flatten()
    return buffer[5 : 5 + t.numel()].view(t.shape)


def _negated(t: Tensor) -> Tensor:
    """Store with the other sign and PyTorch's negative bit, as in ``z.conj().imag``."""
    return torch._neg_view(-t) if t.dtype.is_floating_point else t


def _junk(t: Tensor, shape: list[int]) -> Tensor:
    junk = 7 if not t.dtype.is_floating_point and not t.is_complex() else float("nan")
    return t.new_full(shape, True if t.dtype == torch.bool else junk)


def _repeated(t: Tensor, axis: int) -> Tensor:
    """Expand one slice along an axis (stride 0)."""
    return t.narrow(axis, 0, 1).expand(t.shape) if t.dim() >= -axis and t.numel() else t


def _repeated_scalar(t: Tensor) -> Tensor:
    """Expand one number along all axes."""
    return t.flatten()[:1].reshape([1] * t.dim()).expand(t.shape) if t.numel() else t


def _sliding(t: Tensor) -> Tensor:
    """Make overlapping rows: each begins one element behind the row before, in the same memory."""
    if t.dim() < 2 or t.numel() == 0:
        return t
    *lead, T, N = t.shape
    line = torch.cat((t[..., 0, :], t[..., 1:, -1]), -1).contiguous()
    return line.unfold(-1, N, 1)


_SAME_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": _backwards,
    "with its last axes swapped": _swapped,
    "stepped along the last axis": lambda t: _strided(t, -1),
    "stepped along the last axis but one": lambda t: _strided(t, -2),
    "at an offset": _at_offset,
    "negated when read": _negated,
}


_OTHER_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "expanded along the last axis": lambda t: _repeated(t, -1),
    "expanded along the last axis but one": lambda t: _repeated(t, -2),
    "expanded along the last axis but two": lambda t: _repeated(t, -3),
    "expanded from one number": _repeated_scalar,
    "sliding": _sliding,
}


@register_op_law("empties")
def empties(case: OpCase) -> None:
    """With no sample, no token or no width, the results are those of the definition, or both refuse the sizes."""
    for name in ("B", "T", "K", "V"):
        small = case.at(Sizes()._replace(**{name: 0}))
        with use_definition():
            expected = everything_or_refused(small)
        found = everything_or_refused(small)
        if (found is None) != (expected is None):
            which = "fast form" if found is None else "definition"
            raise LawBroken(f"{name} = 0: refused by the {which} only")
        if found is not None and expected is not None:
            same(f"{name} = 0", found, expected)
