"""Every op obeys every law over ops, and each law catches an op that breaks it."""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch
from torch import Tensor

from anyformer.laws import OP_LAWS, LawBroken, check_op
from anyformer.laws.ops.cases import HELPERS, OpCase, op_cases
from anyformer.laws.ops.numerics import spreads
from anyformer.ops import Primitive, Spread, _base, load_all, modules, use_native

CASES = op_cases()
OPS = sorted({case.op for case in CASES})


def test_every_public_function_of_ops_has_a_case() -> None:
    found = set()
    for name in modules():
        module = importlib.import_module(f"anyformer.ops.{name}")
        listed = getattr(module, "__all__", None)  # a folder lists them; a file defines them
        found |= {
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value)
            and (value.__module__ == module.__name__ if listed is None else name in listed)
            and not name.startswith("_")
        }
    definitions = {name for name in found if name.endswith(("_definition", "_flops"))}
    assert found - definitions - HELPERS == set(OPS), "a new op needs a case in anyformer/laws/ops/cases"
    assert set(load_all()) <= set(OPS)


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("law", OP_LAWS)
@pytest.mark.parametrize("op", OPS)
def test_laws(op: str, law: str, native: bool) -> None:
    cases = [case for case in CASES if case.op == op]
    assert cases
    with use_native(native):
        for case in cases:
            OP_LAWS[law](case)


def _triple(x: Tensor) -> Tensor:
    """Three times x (B, H, T, K); the fast form makes NaN of all tokens of a head and channel where one is."""
    return 3 * x if _base._definition_depth else 3 * x + 0 * x.sum(2, keepdim=True)


def test_what_is_not_finite_spreads_only_as_the_op_states(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    law, case = OP_LAWS["not finite"], OpCase("triple", "", _triple, {"x": x})
    with pytest.raises(LawBroken, match="spreads$"):
        law(case)
    stated = Primitive("triple", _triple, _triple, lambda x: 0, Spread((2,), "tiles"))
    monkeypatch.setitem(_base.PRIMITIVES, "triple", stated)
    law(case)
    monkeypatch.setitem(_base.PRIMITIVES, "triple", stated._replace(spread=Spread((3,), "tiles")))
    with pytest.raises(LawBroken, match="beyond what the op declares"):
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
