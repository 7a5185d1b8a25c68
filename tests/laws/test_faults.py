"""Every law can fail: for each there is a planted fault (`faults/`, a file a subject), which it catches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from anyformer import Call
from anyformer.embed.field_sum import FieldSum
from anyformer.embed.variates import Variates
from anyformer.heads.linear import LinearHead
from anyformer.laws import (
    EMBEDDER_LAWS,
    HEAD_LAWS,
    LAWS,
    MODEL_LAWS,
    OP_LAWS,
    TASK_LAWS,
    Case,
    LawBroken,
    check_case,
    check_mixer,
)
from anyformer.laws.faults import (
    EMBEDDER_FAULTS,
    FAULTS,
    HEAD_FAULTS,
    MODEL_FAULTS,
    OP_FAULTS,
    TASK_FAULTS,
    Fault,
    Form,
    Sound,
    TaskFault,
    embedder_case,
    head_case,
    model_case,
    op_case,
    task_case,
)
from anyformer.laws.heads.cases import OBJECTIVES
from anyformer.models import SequenceModel
from anyformer.user_code import load_file

FORMS: tuple[Form, ...] = ("alone", "joined")

for file in sorted((Path(__file__).parent / "faults").glob("*.py")):
    load_file(str(file))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.law}-{fault.name}")
def test_the_law_catches_the_mixer(fault: Fault) -> None:
    assert isinstance(fault.case, Case)
    (result,) = check_case(fault.case, [fault.law])
    assert result.outcome == "broken", f"{fault.name} is not caught by {fault.law}"
    assert re.search(fault.words, result.detail), result.detail


@pytest.mark.parametrize("fault", OP_FAULTS, ids=lambda fault: f"{fault.law}-{fault.name}")
def test_the_law_catches_the_op(fault: Fault) -> None:
    with pytest.raises(LawBroken, match=fault.words):
        OP_LAWS[fault.law](fault.case)


@pytest.mark.parametrize("fault", MODEL_FAULTS, ids=lambda fault: f"{fault.law}-{fault.name}")
def test_the_law_catches_the_whole_model(fault: Fault) -> None:
    with pytest.raises(LawBroken, match=fault.words):
        MODEL_LAWS[fault.law](fault.case)


@pytest.mark.parametrize("law", MODEL_LAWS)
def test_every_law_over_whole_models_has_a_fault_and_lets_sound_ones_pass(law: str) -> None:
    assert law in {fault.law for fault in MODEL_FAULTS}, (
        f"plant a model that breaks {law!r} in tests/laws/faults"
    )
    for sound in (
        model_case(SequenceModel, "encoded"),
        *(model_case(SequenceModel, form, pool=p) for form in FORMS for p in (None, "mean", "last")),
    ):
        MODEL_LAWS[law](sound)


@pytest.mark.parametrize("law", LAWS)
def test_every_law_has_a_fault(law: str) -> None:
    assert law in {fault.law for fault in FAULTS}, f"plant a mixer that breaks {law!r} in tests/laws/faults"


@pytest.mark.parametrize("law", OP_LAWS)
def test_every_law_over_ops_has_a_fault_and_lets_sound_ops_pass(law: str) -> None:
    assert law in {fault.law for fault in OP_FAULTS}, f"plant an op that breaks {law!r} in tests/laws/faults"
    for sound in (lambda x: x**3, lambda x: 2 * x, lambda x: x.sum(-1)):
        OP_LAWS[law](op_case(sound))


@pytest.mark.parametrize("fault", EMBEDDER_FAULTS, ids=lambda fault: f"{fault.law}-{fault.name}")
def test_the_law_catches_the_embedder(fault: Fault) -> None:
    with pytest.raises(LawBroken, match=fault.words):
        EMBEDDER_LAWS[fault.law](fault.case)


@pytest.mark.parametrize("fault", HEAD_FAULTS, ids=lambda fault: f"{fault.law}-{fault.name}")
def test_the_law_catches_the_head(fault: Fault) -> None:
    with pytest.raises(LawBroken, match=fault.words):
        HEAD_LAWS[fault.law](fault.case)


@pytest.mark.parametrize("fault", TASK_FAULTS, ids=lambda fault: f"{fault.law}-{fault.name}")
def test_the_law_catches_the_task(fault: TaskFault, tmp_path: Path) -> None:
    with pytest.raises(LawBroken, match=fault.words):
        TASK_LAWS[fault.law](task_case(tmp_path, fault.damage))


def test_every_law_over_embedders_heads_and_tasks_has_a_fault_and_lets_sound_ones_pass(
    tmp_path: Path,
) -> None:
    windows = embedder_case(Variates, "window")
    for laws, faults, cases in (
        (
            EMBEDDER_LAWS,
            EMBEDDER_FAULTS,
            [*(embedder_case(FieldSum, s) for s in ("sequence", "set")), windows],
        ),
        (HEAD_LAWS, HEAD_FAULTS, [head_case(LinearHead, question) for question in OBJECTIVES]),
        (TASK_LAWS, TASK_FAULTS, [task_case(tmp_path)]),
    ):
        assert set(laws) == {fault.law for fault in faults}  # type: ignore[attr-defined]
        for law in laws.values():
            assert any([law(case) for case in cases]), law.id  # type: ignore[arg-type]


def test_the_sound_mixer_obeys_all_laws() -> None:
    check_mixer(Sound)


def test_call_none_is_the_same_as_an_empty_call() -> None:
    mixer = Sound(4)
    x = torch.randn(1, 3, 4)
    assert torch.equal(mixer(x), mixer(x, call=Call()))
