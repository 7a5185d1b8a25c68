"""Files of a unit: what is damaged counts as missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import DONE

from anyformer.compare.run.unit import Outcome, Searched
from anyformer.compare.run.unit_files import (
    Incident,
    Progress,
    abandoned,
    add_incident,
    must_be_alone,
    note_left,
    note_owner,
    read_incidents,
    read_outcome,
    read_progress,
    without_progress,
    write_outcome,
    write_progress,
)

OUTCOMES = [Outcome("ok", found=DONE), Outcome("diverged", "the loss became NaN")]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.status)
def test_an_outcome_is_read_back_or_missing(tmp_path: Path, outcome: Outcome) -> None:
    assert read_outcome(tmp_path, "train") is None
    write_outcome(tmp_path, outcome)
    assert read_outcome(tmp_path, "train") == outcome
    path = tmp_path / "result.json"
    text = path.read_text()
    for damaged in (text[:-1], text.replace('"status"', '"statuz"'), text.replace("1.0", "1.5"), "[]"):
        path.write_text(damaged)
        assert damaged == text or read_outcome(tmp_path, "train") is None


def test_an_outcome_of_another_phase_is_missing(tmp_path: Path) -> None:
    write_outcome(tmp_path, Outcome("ok", found=Searched(loss=1.0)))
    assert read_outcome(tmp_path, "search") is not None and read_outcome(tmp_path, "measure") is None


def test_progress_is_a_share_of_what_the_unit_does() -> None:
    assert Progress(step=30, steps=40, begun=20).share == 0.5
    assert Progress(step=10, steps=40, begun=20).share == 0 and Progress(step=50, steps=40).share == 1


def test_progress_is_read_back_or_none(tmp_path: Path) -> None:
    write_progress(tmp_path, Progress(step=3, steps=9, loss=float("nan")))
    assert read_progress(tmp_path).step == 3
    for damaged in ("{", json.dumps({"step": -1}), "7"):
        (tmp_path / "progress.json").write_text(damaged)
        assert read_progress(tmp_path) == Progress()


def test_incidents_are_counted_since_the_last_progress(tmp_path: Path) -> None:
    steps = (0, 10, 10, 5)
    for step in steps:
        found = add_incident(tmp_path, Incident(kind="killed", step=step))
    assert found == read_incidents(tmp_path) and [i.step for i in found] == list(steps)
    assert [i.step for i in without_progress(found)] == [10, 10, 5] and without_progress([]) == []
    assert must_be_alone(found) and not must_be_alone(found[:1])
    assert must_be_alone([Incident(kind="memory")]) and not must_be_alone([Incident(kind="hung")] * 3)


def test_a_unit_that_was_not_given_back_is_abandoned(tmp_path: Path) -> None:
    assert abandoned(tmp_path) == 0
    note_owner(tmp_path)
    assert abandoned(tmp_path) == 1
    note_left(tmp_path)
    assert abandoned(tmp_path) == 0
    note_owner(tmp_path)
    note_owner(tmp_path)
    assert abandoned(tmp_path) == 2
