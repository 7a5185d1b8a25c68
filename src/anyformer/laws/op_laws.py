"""The laws over ops. Each takes a case and raises :class:`LawBroken` where it is broken."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from anyformer.laws.case import LawBroken
from anyformer.laws.check import Outcome, Result
from anyformer.laws.op_cases import OpCase, Sizes, op_cases
from anyformer.ops import Spread, load_all, use_definition, use_native
from anyformer.registry import nearest

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


def forward_mode(case: OpCase) -> None:
    """A derivative along tangents, by ``torch.func.jvp`` and by dual tensors, is what the gradients say it is."""
    starts = {name: t for name, t in case.tensors.items() if _differentiable(t)}
    if not starts or not _along(case, starts, [*starts.values()]):
        return
    outputs, backward = torch.func.vjp(lambda *t: _along(case, starts, t), *starts.values())[:2]
    weights = tuple(_weights(y) for y in outputs)
    tangents = tuple(_weights(t) for t in starts.values())
    expected = sum(_inner(g, t) for g, t in zip(backward(weights), tangents, strict=True))
    for how, along in (("torch.func.jvp", _by_jvp), ("dual tensors", _by_duals)):
        found = sum(
            _inner(w, d) for w, d in zip(weights, along(case, starts, tangents), strict=True) if d is not None
        )
        _same(how, {"the derivative": torch.as_tensor(found)}, {"the derivative": torch.as_tensor(expected)})


def second_order(case: OpCase) -> None:
    """The gradient of a gradient is the definition's, also where two arguments depend on each other; or PyTorch has
    none, and a warning has said how to get it."""
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
    _same("twice", found, expected)


def batched(case: OpCase) -> None:
    """``torch.func.vmap`` over every floating argument is one call after the other; so are gradients under it."""
    starts = {name: torch.stack((t, 0.5 * t)) for name, t in case.tensors.items() if _differentiable(t)}

    def call(*given: Tensor) -> tuple[Tensor, ...]:
        return _along(case, starts, given)

    if not starts or not _along(case, starts, [t[0] for t in starts.values()]):
        return
    each = [[t[i] for t in starts.values()] for i in range(2)]
    found, expected = torch.func.vmap(call)(*starts.values()), [call(*given) for given in each]
    _same("vmap", _named(found), _named([torch.stack(ys) for ys in zip(*expected, strict=True)]))

    def slopes(*given: Tensor) -> tuple[Tensor, ...]:
        y, backward = torch.func.vjp(call, *given)[:2]
        grads: tuple[Tensor, ...] = backward(tuple(_weights(t) for t in y))
        return grads

    found, expected = torch.func.vmap(slopes)(*starts.values()), [slopes(*given) for given in each]
    _same(
        "gradients under vmap", _named(found), _named([torch.stack(g) for g in zip(*expected, strict=True)])
    )


def definition(case: OpCase) -> None:
    """The fast form gives what the definition gives: outputs and every gradient."""
    with use_definition():
        expected = _everything(case, case.tensors)
    _same("fast form", _everything(case, case.tensors), expected)


def not_finite(case: OpCase) -> None:
    """What is not a finite number shows exactly where it does in the definition, and in the same samples' gradients.

    An op may state axes along which it shows in more places (:class:`anyformer.ops.Spread`), as where it multiplies
    whole tiles: zero times NaN is NaN.
    """
    spread = _stated(case.op)
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


LAWS: dict[str, Callable[[OpCase], None]] = {
    "definition": definition,
    "layouts": layouts,
    "empties": empties,
    "not finite": not_finite,
    "forward mode": forward_mode,
    "second order": second_order,
    "vmap": batched,
}


# ---- what is not finite ---------------------------------------------------------------------------------------


def _stated(op: str) -> Spread | None:
    known = load_all().get(op)
    return None if known is None else known.spread


def _spoilt(case: OpCase, numbers: Iterable[float], places: int) -> Iterator[tuple[str, Tensors]]:
    """The case's tensors with one element of one of them replaced, in ``places`` from the first to the last."""
    for name, t in case.tensors.items():
        if not _differentiable(t) or name in case.fixed or t.numel() == 0:
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
                found = _flat(case.call(**given))
                with use_definition():
                    expected = _flat(case.call(**given))
            for i, (a, b) in enumerate(zip(found, expected, strict=True)):
                yield f"{what}, in output {i},", ~a.isfinite(), ~b.isfinite()


def _gradients_not_finite(case: OpCase) -> Iterator[tuple[str, str, Tensor]]:
    """Of each gradient, (B,): whether it is not finite in a sample, though it and the outputs are in the definition."""
    for what, given in _spoilt(case, (torch.nan,), 2):
        found = _everything(case, given)
        with use_definition():
            expected = _everything(case, given)
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


# ---- derivatives ----------------------------------------------------------------------------------------------


def _along(case: OpCase, starts: Tensors, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The outputs that have derivatives, as a function of ``starts`` given anew."""
    outputs = _flat(case.call(**{**case.tensors, **dict(zip(starts, given, strict=True))}))
    return tuple(y for y in outputs if _differentiable(y))


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
    base = {name: t.clone().requires_grad_() for name, t in case.tensors.items() if _differentiable(t)}
    shift = sum((t.abs().sum() for t in base.values()), torch.zeros(()))
    starts = {name: t + 1e-3 * shift for name, t in base.items()}  # each depends on all the others
    outputs = [y for y in _along(case, starts, [*starts.values()]) if y.requires_grad]
    if not outputs:
        return {}
    grads = torch.autograd.grad(outputs, [*base.values()], [_weights(y) for y in outputs], create_graph=True)
    total = sum((g * _weights(g)).sum().abs() for g in grads)
    if not isinstance(total, Tensor) or not total.requires_grad:
        return {}
    again = torch.autograd.grad(total, [*base.values()], allow_unused=True)
    return {name: g for name, g in zip(base, again, strict=True) if g is not None}


def _named(outputs: Sequence[Tensor]) -> Tensors:
    return {f"output {i}": y for i, y in enumerate(outputs)}


def op_names() -> list[str]:
    """Every op that the laws are for."""
    return sorted({case.op for case in op_cases()})


def check_op(name: str, only: Iterable[str] | None = None) -> list[Result]:
    """Hold an op to the laws, or to ``only`` some of them, in every way that it is called.

    Raises:
        ValueError: for an unknown op.
    """
    cases = op_cases(ops={name})
    if not cases:
        raise ValueError(f"unknown op {name!r}{nearest(name, op_names())}")
    laws = list(LAWS if only is None else only)
    found = [_result(case, law) for case in cases for law in laws]
    return found + ([_spread_result(name)] if "not finite" in laws and _stated(name) else [])


def _spread_result(name: str) -> Result:
    """What an op states of NaN must be so, as every excuse."""
    start, spread = time.perf_counter(), _stated(name)
    assert spread is not None
    outcome: Outcome = "excused" if spreads(name) else "wrongly excused"
    detail = f"NaN spreads along axes {spread.axes} of outputs: {spread.reason}"
    return Result(f"op:{name}", "not finite", outcome, detail, time.perf_counter() - start)


def _result(case: OpCase, law: str) -> Result:
    start, broken = time.perf_counter(), ""
    try:
        LAWS[law](case)
    except Exception as error:  # whatever an op raises, it has broken the law under which it raised
        broken = str(error) if isinstance(error, LawBroken) else f"{type(error).__name__}: {error}"
    return Result(f"op:{case}", law, "broken" if broken else "holds", broken, time.perf_counter() - start)


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
    """Numbers that tell the elements of t apart; not drawn at random, which ``vmap`` forbids."""
    return (torch.arange(t.numel(), dtype=torch.float64) * 1.7 + 0.4).sin().reshape(t.shape).to(t.dtype)


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
