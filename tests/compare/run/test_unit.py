"""Units are told apart by all their fields, and their findings have the type of their phase."""

from __future__ import annotations

import pytest

from anyformer.compare.run.unit import Outcome, Scored, Searched, Trained, Unit

UNIT = Unit(
    task="a/b",
    phase="train",
    candidate="[attention]*2",
    steps=10,
    learning_rate=1e-3,
    seed=0,
    schedule=((10, 1.0),),
)
CHANGES = {
    "task": "a:b",
    "phase": "score",
    "candidate": "[attention]*3",
    "steps": 11,
    "learning_rate": 2e-3,
    "seed": 1,
    "schedule": ((10, 0.5),),
    "data": "other",
}


@pytest.mark.parametrize("field", Unit.model_fields)
def test_every_field_makes_another_folder(field: str) -> None:
    other = UNIT.model_copy(update={field: CHANGES[field]})
    assert other.id != UNIT.id and other != UNIT


def test_a_folders_name_is_readable_and_safe() -> None:
    assert UNIT.id.startswith("a-b-train-attention-2-lr0.001-seed0-to10-")
    long = UNIT.model_copy(update={"candidate": "x/" * 200})
    assert len(long.id) < 100 and "/" not in long.id


def test_findings_have_the_type_of_the_phase() -> None:
    found = Outcome("ok", found=Trained(step_seconds=1.0, seconds=2.0))
    assert found.of(Trained) is found.found and Outcome("failed", "why").of(Searched) is None
    with pytest.raises(AssertionError, match="Scored expected"):
        found.of(Scored)
