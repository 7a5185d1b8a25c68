"""Every op obeys every law over ops, and each law catches an op that breaks it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.laws import LawBroken
from anyformer.laws.op_cases import HELPERS, OpCase, Sizes, op_cases
from anyformer.laws.op_laws import LAWS, check_op, spreads
from anyformer.ops import MODULES, Path, Primitive, Spread, _base, load_all, use_native

CASES = op_cases()
OPS = sorted({case.op for case in CASES})


def test_every_public_function_of_ops_has_a_case() -> None:
    found = set()
    for name in (*MODULES, "select"):
        module = importlib.import_module(f"anyformer.ops.{name}")
        found |= {
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        }
    definitions = {name for name in found if name.endswith(("_definition", "_flops"))}
    assert found - definitions - HELPERS == set(OPS), "a new op needs a case in anyformer/laws/op_cases.py"
    assert set(load_all()) <= set(OPS)


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("op", OPS)
def test_laws(op: str, law: str, native: bool) -> None:
    cases = [case for case in CASES if case.op == op]
    assert cases
    with use_native(native):
        for case in cases:
            LAWS[law](case)


# ---- a fault for each law -------------------------------------------------------------------------------------


def in_definition() -> bool:
    return bool(_base._definition_depth)


def _read_as_if_dense(x: Tensor) -> Tensor:
    """Doubles, reading storage from x's first element on, whatever its strides."""
    return 2 * torch.as_strided(x, x.shape, x.new_empty(x.shape, device="meta").stride())


class _GradientAsIfDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return _read_as_if_dense(grad)


def _stored_sign(x: Tensor) -> Tensor:
    """Doubles what is stored, not what is read."""
    return 2 * (torch._neg_view(x) if x.is_neg() else x)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (_read_as_if_dense, "x transposed"),
        (_GradientAsIfDense.apply, "gradients transposed"),
        (_stored_sign, "x negated"),
    ],
)
def test_a_layout_that_is_ignored_is_caught(fault: object, words: str) -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    LAWS["layouts"](OpCase("double", "", lambda x: 2 * x, {"x": x}))
    with pytest.raises(LawBroken, match=words):
        LAWS["layouts"](OpCase("double", "", fault, {"x": x}))  # type: ignore[arg-type]


def test_what_is_wrong_of_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyformer.laws import op_laws

    def cases(sizes: Sizes, ops: set[str]) -> list[OpCase]:
        def total(x: Tensor) -> Tensor:
            y = x.sum(-1)
            return y if x.numel() or in_definition() else y.detach()

        return [OpCase("total", "", total, {"x": torch.randn(sizes.B, sizes.K, dtype=torch.float64)})]

    monkeypatch.setattr(op_laws, "op_cases", cases)
    with pytest.raises(LawBroken, match="B = 0: whether there is a gradient"):
        LAWS["empties"](cases(Sizes(), {"total"})[0])


class _Once(torch.autograd.Function):
    """x^3, whose gradient forgets that it depends on x."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 3 * ctx.saved_tensors[0].detach() ** 2


class _SharedGradient(torch.autograd.Function):
    """x^3, in whose backward one sample's buffer is another's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x = ctx.saved_tensors[0]
        return grad * 3 * x**2 + 0 * x.sum()


def _half_the_tangent(x: Tensor) -> Tensor:
    """The right gradient, and the tangent of one of two factors only, as an op that detaches gives it."""
    return x * (x.detach() if torch.autograd.forward_ad._current_level >= 0 else x)


def _first_sample(x: Tensor) -> Tensor:
    """What a fast form does that takes ``vmap`` for one call: the first of all samples."""
    batched = torch._C._functorch.is_batchedtensor(x)
    return torch._C._functorch.get_unwrapped(x)[0] * 2 if batched else x * 2


@pytest.mark.parametrize(
    ("law", "fault", "words"),
    [
        ("forward mode", _half_the_tangent, "torch.func.jvp"),
        ("second order", lambda x: _Once.apply(x) if not in_definition() else x**3, "twice: x"),
        ("vmap", _first_sample, "vmap"),
        (
            "not finite",
            lambda x: x**3 if in_definition() else x.nan_to_num() ** 3,
            "nan in x, in output 0, is hidden",
        ),
        (
            "not finite",
            lambda x: x**3 if in_definition() else x**3 + 0 * x.sum(),
            "nan in x, in output 0, spreads",
        ),
        (
            "not finite",
            lambda x: x**3 if in_definition() else x**3 + 0 * x.flip(1),
            "nan in x, in output 0, spreads",
        ),
        (
            "not finite",
            lambda x: x**3 if in_definition() else _SharedGradient.apply(x),
            "nan in x spreads to another sample of the gradient of x",
        ),
        ("definition", lambda x: x * (1.0 if in_definition() else 1.001), "fast form"),
    ],
)
def test_a_derivative_that_is_wrong_is_caught(law: str, fault: Callable[..., Any], words: str) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    LAWS[law](OpCase("cube", "", lambda x: x**3, {"x": x}))
    with pytest.raises(LawBroken, match=words):
        LAWS[law](OpCase("faulty", "", fault, {"x": x}))


def _triple(x: Tensor) -> Tensor:
    """Three times x (B, H, T, K); the fast form makes NaN of all tokens of a head and channel where one is."""
    return 3 * x if in_definition() else 3 * x + 0 * x.sum(2, keepdim=True)


def test_what_is_not_finite_spreads_only_as_the_op_states(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    law, case = LAWS["not finite"], OpCase("triple", "", _triple, {"x": x})
    with pytest.raises(LawBroken, match="spreads$"):
        law(case)
    stated = Primitive(
        "triple", _triple, _triple, lambda x: 0, lambda *_: Path("", ""), Spread((2,), "tiles")
    )
    monkeypatch.setitem(_base.PRIMITIVES, "triple", stated)
    law(case)
    monkeypatch.setitem(_base.PRIMITIVES, "triple", stated._replace(spread=Spread((3,), "tiles")))
    with pytest.raises(LawBroken, match="beyond what the op states"):
        law(case)


@pytest.mark.parametrize("op", [name for name, known in load_all().items() if known.spread])
def test_what_an_op_states_of_nan_is_so(op: str) -> None:
    assert spreads(op)


def test_an_op_that_states_more_than_is_so_is_wrongly_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = load_all()["rms_norm"]._replace(spread=Spread((1,), "no reason"))
    monkeypatch.setitem(_base.PRIMITIVES, "rms_norm", stated)
    assert [r.outcome for r in check_op("rms_norm", ["not finite"]) if not r.good] == ["wrongly excused"]


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("op", ["linear_attention", "delta_rule"])
def test_nan_of_one_head_is_not_seen_by_those_that_a_thread_takes_next(op: str, native: bool) -> None:
    """Also where the widths fill no whole tile, and in what the backward runs again."""
    x = {name: torch.randn(3, 2, 150, 5) for name in "qkv"}
    if op == "delta_rule":
        x["beta"] = torch.rand(3, 2, 150)
    x["v"][0, 0, 7, 2] = torch.nan
    given = {name: t.requires_grad_() for name, t in x.items()}
    run = importlib.import_module(f"anyformer.ops.{op}")
    with use_native(native):
        y, state = getattr(run, op)(**given)
        (y.sum() + state.sum()).backward()
    for t in (y, state, *(t.grad for t in given.values())):
        assert bool(t[1:].isfinite().all())
        assert bool(t[0, 1].isfinite().all())
