"""Every op obeys every law over ops, and each law catches an op that breaks it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.ops import MODULES, _base, load_all, use_native
from anyformer.testing import LawBroken
from anyformer.testing.op_cases import HELPERS, OpCase, Sizes, op_cases
from anyformer.testing.op_laws import LAWS

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
    assert found - definitions - HELPERS == set(OPS), "a new op needs a case in anyformer/testing/op_cases.py"
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
    from anyformer.testing import op_laws

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
            "nan in x is hidden in output 0",
        ),
        (
            "not finite",
            lambda x: x**3 if in_definition() else x**3 + 0 * x.sum(),
            "spreads to another sample",
        ),
        ("definition", lambda x: x * (1.0 if in_definition() else 1.001), "fast form"),
    ],
)
def test_a_derivative_that_is_wrong_is_caught(law: str, fault: Callable[..., Any], words: str) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    LAWS[law](OpCase("cube", "", lambda x: x**3, {"x": x}))
    with pytest.raises(LawBroken, match=words):
        LAWS[law](OpCase("faulty", "", fault, {"x": x}))
