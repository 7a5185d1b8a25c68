"""Machines fail, files are damaged, data changes: a comparison goes on, or says in one sentence why it does not."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import pytest
from fakes import InProcess, Replay

from anyformer.compare import Comparison, compare, resume
from anyformer.machine import file_digest

module = importlib.import_module("anyformer.compare.compare")

CSV = "date,sales\n" + "\n".join(
    f"2024-{1 + day // 28:02d}-{1 + day % 28:02d},{100 + day % 7 * 3 + day % 5}" for day in range(300)
)


def write_csv(path: Path) -> Path:
    rows = [f"{value % 7},{value * 7 % 5},{'ab'[value % 7 > 3]}" for value in range(400)]
    path.write_text("x,y,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Comparison:
    """A whole comparison on a file, trained for real, in this process."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anyformer.compare.conduct.Pool", InProcess)
        patch.setattr("anyformer.compare.lab.CALIBRATION_SECONDS", 0.01)
        patch.setattr("anyformer.compare.plan.Plan.measure_seconds", 0.01)
        return compare(
            write_csv(folder / "data.csv"),
            {"one": "retnet", "two": "transformer"},
            target="label",
            out=folder / "out",
            budget="8 steps",
            parameters=4000,
            batch_size=8,
            workers=1,
            quiet=True,
        )


@pytest.fixture
def replayed(finished, monkeypatch) -> None:
    """From here on units are done again as they were in the finished comparison."""
    monkeypatch.setattr("anyformer.compare.conduct.Pool", InProcess)
    monkeypatch.setattr(module, "TrainingLab", lambda *args, **kwargs: Replay(finished.folder))


@pytest.fixture
def copied(finished, replayed, tmp_path) -> Path:
    shutil.copytree(finished.folder, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def half(copied) -> Path:
    """The comparison as it stood when training had begun."""
    for name in ("finished.json", "results.json", "report.html"):
        (copied / name).unlink()
    shutil.rmtree(copied / "winner")
    for path in sorted(copied.glob("units/*-train-*"))[1:]:
        shutil.rmtree(path)
    for path in copied.glob("units/*-measure-*"):
        shutil.rmtree(path)
    return copied


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()}


def told(found: Comparison) -> list[dict]:
    return [task.model_dump() for task in found.results.tasks]


def test_resuming_what_is_finished_changes_no_byte(copied, capsys):
    before = hashes(copied)
    again = resume(copied)
    assert hashes(copied) == before
    assert again.results.seconds == json.loads((copied / "results.json").read_text())["seconds"]
    assert "finished already" in capsys.readouterr().out


def test_going_on_from_the_middle(half, finished):
    assert told(resume(half, quiet=True)) == told(finished)
