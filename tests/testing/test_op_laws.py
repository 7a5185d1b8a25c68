"""Every op obeys every law over ops, and each law catches an op that breaks it."""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch
from torch import Tensor

from anyformer.ops import MODULES, load_all, use_native
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

    def in_definition() -> bool:
        from anyformer.ops import _base

        return bool(_base._definition_depth)

    monkeypatch.setattr(op_laws, "op_cases", cases)
    with pytest.raises(LawBroken, match="B = 0: whether there is a gradient"):
        LAWS["empties"](cases(Sizes(), {"total"})[0])
