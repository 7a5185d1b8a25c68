"""The laws over ops. Each takes a case and raises :class:`LawBroken` where it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from anyformer.ops import use_definition
from anyformer.testing.case import LawBroken
from anyformer.testing.op_cases import OpCase, Sizes, op_cases

Tensors = dict[str, Tensor]


def layouts(case: OpCase) -> None:
    """Whatever way an argument or a gradient lies in memory, the results are those of its contiguous self."""
    for name in case.tensors:
        for layout, laid in _layouts_of(case.tensors[name], name in case.fixed):
            given = {**case.tensors, name: laid}
            dense = {**case.tensors, name: laid.resolve_neg().contiguous()}
            _same(f"{name} {layout}", _everything(case, given), _everything(case, dense))
    for layout in _SAME_VALUES:
        given = {name: _SAME_VALUES[layout](t) for name, t in case.tensors.items()}
        _same(f"all arguments {layout}", _everything(case, given), _everything(case, case.tensors))
    for layout, lay in (_SAME_VALUES | _OTHER_VALUES).items():
        expected = _everything(case, case.tensors, lambda t: lay(t).resolve_neg().contiguous())  # noqa: B023
        _same(f"gradients {layout}", _everything(case, case.tensors, lay), expected)


def empties(case: OpCase) -> None:
    """With no sample, no token, or no width the results are the definition's, or the sizes are refused."""
    for name in ("B", "T", "K", "V"):
        for small in op_cases(Sizes()._replace(**{name: 0}), {case.op}):
            if small.label != case.label:
                continue
            with use_definition():
                expected = _or_refused(small)
            found = _or_refused(small)
            if (found is None) != (expected is None):
                which = "fast form" if found is None else "definition"
                raise LawBroken(f"{name} = 0: refused by the {which} only")
            if found is not None and expected is not None:
                _same(f"{name} = 0", found, expected)


LAWS: dict[str, Callable[[OpCase], None]] = {"layouts": layouts, "empties": empties}


# ---- ways to lie in memory ------------------------------------------------------------------------------------


def _backwards(t: Tensor) -> Tensor:
    """Axes in the opposite order."""
    return (
        t.mT.contiguous().mT
        if t.dim() == 2
        else t.permute(*range(t.dim())[::-1]).contiguous().permute(*range(t.dim())[::-1])
    )


def _swapped(t: Tensor) -> Tensor:
    """The last two axes in the opposite order, the others not."""
    return t.mT.contiguous().mT if t.dim() > 1 else t


def _apart(t: Tensor, axis: int) -> Tensor:
    """With junk between neighbours along an axis."""
    if t.dim() < -axis:
        return t
    room = _junk(t, [n * 3 if i == t.dim() + axis else n for i, n in enumerate(t.shape)])
    place = [slice(None)] * t.dim()
    place[axis] = slice(1, None, 3)
    room[tuple(place)] = t
    return room[tuple(place)]


def _behind(t: Tensor) -> Tensor:
    """From the middle of a buffer of junk."""
    room = _junk(t, [t.numel() + 12])
    room[5 : 5 + t.numel()] = t.flatten()
    return room[5 : 5 + t.numel()].view(t.shape)


def _negated(t: Tensor) -> Tensor:
    """Stored with the other sign, which PyTorch turns when it reads (what ``z.conj().imag`` is)."""
    return torch._neg_view(-t) if t.dtype.is_floating_point else t


def _junk(t: Tensor, shape: list[int]) -> Tensor:
    junk = 7 if not t.dtype.is_floating_point and not t.is_complex() else float("nan")
    return t.new_full(shape, True if t.dtype == torch.bool else junk)


def _repeated(t: Tensor, axis: int) -> Tensor:
    """One slice for all places along an axis."""
    return t.narrow(axis, 0, 1).expand(t.shape) if t.dim() >= -axis and t.numel() else t


def _everywhere(t: Tensor) -> Tensor:
    """One number for all places."""
    return t.flatten()[:1].reshape([1] * t.dim()).expand(t.shape) if t.numel() else t


def _sliding(t: Tensor) -> Tensor:
    """Each row one place behind the row before it, in the same memory."""
    if t.dim() < 2 or t.numel() == 0:
        return t
    *lead, T, N = t.shape
    line = torch.cat((t[..., 0, :], t[..., 1:, -1]), -1).contiguous()
    return line.unfold(-1, N, 1)


_SAME_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": _backwards,
    "with its last axes swapped": _swapped,
    "stepped along the last axis": lambda t: _apart(t, -1),
    "stepped along the last axis but one": lambda t: _apart(t, -2),
    "at an offset": _behind,
    "negated when read": _negated,
}
_OTHER_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "expanded along the last axis": lambda t: _repeated(t, -1),
    "expanded along the last axis but one": lambda t: _repeated(t, -2),
    "expanded along the last axis but two": lambda t: _repeated(t, -3),
    "expanded from one number": _everywhere,
    "sliding": _sliding,
}


def _layouts_of(t: Tensor, fixed: bool) -> Iterator[tuple[str, Tensor]]:
    """Without those that change nothing for this tensor."""
    for name, lay in (_SAME_VALUES if fixed else _SAME_VALUES | _OTHER_VALUES).items():
        laid = lay(t)
        if laid is not t:
            yield name, laid


# ---- running and comparing ------------------------------------------------------------------------------------


def _flat(result: Any) -> list[Tensor]:
    if result is None:
        return []
    return [result] if isinstance(result, Tensor) else [t for part in result for t in _flat(part)]


def _everything(
    case: OpCase, tensors: Mapping[str, Tensor], lay: Callable[[Tensor], Tensor] = lambda t: t
) -> Tensors:
    """Outputs with and without autograd looking on, and the gradient of each argument.

    Args:
        lay: how the gradients of the outputs lie in memory.
    """
    with torch.no_grad():
        found = {f"output {i} without gradient": t for i, t in enumerate(_flat(case.call(**tensors)))}
    leaves = {name: t.detach().requires_grad_(_differentiable(t)) for name, t in tensors.items()}
    outputs = _flat(case.call(**leaves))
    found |= {f"output {i}": t.detach() for i, t in enumerate(outputs)}
    ends = [t for t in outputs if t.requires_grad]
    starts = {name: t for name, t in leaves.items() if t.requires_grad}
    found["whether there is a gradient"] = torch.tensor(bool(ends))
    if ends and starts:
        grads = torch.autograd.grad(
            ends, [*starts.values()], [lay(_weights(t)) for t in ends], allow_unused=True
        )
        found |= {f"gradient of {n}": g for n, g in zip(starts, grads, strict=True) if g is not None}
    return found


def _or_refused(case: OpCase) -> Tensors | None:
    """Everything, gradients that are not there as zeros; None if the sizes are refused."""
    try:
        found = _everything(case, case.tensors)
    except ValueError:
        return None
    zeros = {f"gradient of {n}": torch.zeros_like(t) for n, t in case.tensors.items() if _differentiable(t)}
    return zeros | found


def _differentiable(t: Tensor) -> bool:
    return t.dtype.is_floating_point or t.is_complex()


def _weights(t: Tensor) -> Tensor:
    real = torch.randn(t.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return real.to(t.dtype)


def _same(what: str, found: Tensors, expected: Tensors) -> None:
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
