"""``anyformer list`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.conftest import Run

from anyformer.cli.parts import EXAMPLE_LENGTH
from anyformer.laws.ops.cases import Sizes, path_of
from anyformer.mixers import list_mixers
from anyformer.models import list_models
from anyformer.ops import load_all


def test_list_names_everything(run: Run) -> None:
    code, text = run("list")
    assert code == 0
    for name in [*list_mixers(), *list_models(), "swiglu", "moe", "alibi", "recall", "bytes"]:
        assert name in text


def test_doctor_names_the_path_of_every_op_and_why(run: Run) -> None:
    code, text = run("doctor")
    assert "Inside torch.func" in text
    assert code == 0
    for primitive in load_all().values():
        assert primitive.name in text
        choice = path_of(primitive.name, Sizes(T=EXAMPLE_LENGTH, K=64, V=64))
        assert choice.path.name in text
        assert choice.why in text


def test_a_mistake(mistake: Callable[..., None]) -> None:
    mistake(("list", "mixer"), "unknown kind 'mixer'; did you mean 'mixers'")
