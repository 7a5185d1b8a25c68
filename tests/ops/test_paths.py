"""Each op runs the path that it names, and says why others refused; custom operators keep their gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from anyformer import kernels
from anyformer.laws.ops.cases import OpCase, Sizes, op_cases, path_of
from anyformer.ops import choices, load_all, use_native
from anyformer.ops._gate import PATHS

CASES = op_cases()


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_path_that_is_named_is_the_one_that_runs(
    case: OpCase, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Native code of the op's name runs where a path that is called native is named, and nowhere else."""
    ran: list[str] = []
    run = kernels.run
    monkeypatch.setattr(kernels, "run", lambda name, *args: (ran.append(name), run(name, *args)))
    for dtype, tracked in product((torch.float32, torch.bfloat16), (False, True)):
        given = {n: t.to(dtype) if t.is_floating_point() else t for n, t in case.tensors.items()}
        given = {n: t.detach().requires_grad_(tracked and t.is_floating_point()) for n, t in given.items()}
        with use_native(native), choices() as taken:
            case.call(**given)
        named = [choice for choice in taken if choice.path.name == "native"]
        assert len(ran) == len(named), (ran, taken)
        assert native or not ran
        assert all(choice.path in PATHS[choice.op] for choice in taken)
        ran.clear()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_trace_computes_the_same_or_is_refused(case: OpCase) -> None:
    """Sizes are tensors there: a kernel would read them as addresses, and end the process."""
    names, given = zip(*case.tensors.items())

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tree_leaves(case.call(**dict(zip(names, tensors)))))

    try:
        found = torch.jit.trace(call, given, check_trace=False)(*given)
    except (
        AttributeError,
        TypeError,
        RuntimeError,
    ):  # PyTorch's: for instance a size has no bit_length there
        assert case.op not in {"attention", "linear", "rms_norm", "rotate", "scan", "swiglu"}
        return
    for value, expected in zip(found, call(*given), strict=True):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("case", [case for case in CASES if case.op in load_all()], ids=str)
def test_gradients_under_checkpoint_are_the_same(case: OpCase, native: bool) -> None:
    """Where what was saved is computed again, and can be had once only."""

    def gradients(run: Callable[..., Any]) -> list[Tensor]:
        leaves = {
            n: t.detach().requires_grad_(t.is_floating_point() or t.is_complex())
            for n, t in case.tensors.items()
        }
        found = run(case.call, leaves)
        ends = [t for t in ([found] if isinstance(found, Tensor) else tree_leaves(found)) if t.requires_grad]
        starts = [t for t in leaves.values() if t.requires_grad]
        total = sum(torch.view_as_real(t).sum() if t.is_complex() else t.sum() for t in ends)
        return [g for g in torch.autograd.grad(total, starts, allow_unused=True) if g is not None]

    with use_native(native):
        plain = gradients(lambda call, given: call(**given))
        again = gradients(lambda call, given: checkpoint(call, use_reentrant=False, **given))
    assert len(plain) == len(again) > 0
    assert all(torch.equal(a, b) for a, b in zip(plain, again))


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("op", load_all())
def test_an_op_names_one_of_its_paths_and_why_others_refused(op: str, native: bool) -> None:
    with use_native(native):
        choice = path_of(op, Sizes())
    paths = list(load_all()[op].paths)
    before = paths[: paths.index(choice.path)]
    assert [name for name, _ in choice.refused] == [path.name for path in before]
    assert all(reason and reason in choice.why for _, reason in choice.refused)
    assert len({path.name for path in paths}) == len(paths)
    if not native and "native" in [path.name for path in before]:
        assert choice.path.name != "native"
