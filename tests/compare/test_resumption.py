"""Machines fail, files are damaged, data changes: a comparison goes on, or says in one sentence why it does not."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fakes import InProcess, Replay, in_process, quick
from safetensors import SafetensorError

from anyformer.compare import Comparison, Results, compare, resume
from anyformer.compare.plan.schema import CLOSING_SECONDS, Plan
from anyformer.compare.run.executor import TrainingExecutor
from anyformer.compare.run.unit import Unit
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.compare.run.worker import Heartbeat
from anyformer.files import file_digest
from anyformer.machine import MachineFault, machine_fault
from anyformer.tasks.fingerprint import DataChanged

module = importlib.import_module("anyformer.compare.session")


def write_csv(path: Path) -> Path:
    rows = [f"{value % 7},{value * 7 % 5},{'ab'[value % 7 > 3]}" for value in range(400)]
    path.write_text("x,y,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def idle(patch: pytest.MonkeyPatch) -> None:
    """A machine that does nothing else: how busy it is decides the time that is proposed."""
    patch.setattr("anyformer.compare.run.scheduler.system_load", lambda: 0.0)
    patch.setattr("anyformer.compare.session.closing_seconds", lambda wall, worked: CLOSING_SECONDS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Comparison:
    """A whole comparison on a file, trained for real, in this process."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        in_process(patch)
        quick(patch)
        idle(patch)
        return compare(
            write_csv(folder / "data.csv"),
            {"one": "retnet depth=1", "two": "transformer depth=1"},
            target="label",
            out=folder / "out",
            budget="8 steps",
            parameters=8000,
            batch_size=8,
            workers=1,
            quiet=True,
        )


@pytest.fixture
def replayed(finished, monkeypatch) -> None:
    """From here on units are done again as they were in the finished comparison."""
    in_process(monkeypatch)
    idle(monkeypatch)
    monkeypatch.setattr(module, "TrainingExecutor", lambda *args, **kwargs: Replay(finished.folder))


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
    for path in [*sorted(copied.glob("units/*-score-*"))[1:], *copied.glob("units/*-measure-*")]:
        shutil.rmtree(path)
    return copied


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()}


def told(found: Comparison) -> list[dict]:
    """What a comparison says, but for how busy the machine was and the time that it takes from that."""
    tasks = [task.model_dump() for task in found.results.tasks]
    for task in tasks:
        task["task"]["notes"] = [n for n in task["task"]["notes"] if not n.startswith("The machine was busy")]
        task["verdict"]["headline"] = re.sub("about .* would do", "", task["verdict"]["headline"])
        task["verdict"]["shortage"] = (task["verdict"]["shortage"] or {}).get("steps")
        task["verdict"].pop("details", None)
    return tasks


def test_resuming_what_is_finished_changes_no_byte(copied, capsys):
    before = hashes(copied)
    again = resume(copied)
    assert hashes(copied) == before
    assert again.results.seconds == json.loads((copied / "results.json").read_text())["seconds"]
    assert "finished already" in capsys.readouterr().out


def test_going_on_from_the_middle(half, finished):
    assert told(resume(half, quiet=True)) == told(finished)


KINDS = (
    "plan.json",
    "identity.json",
    "study.db",
    "clock.json",
    "units/*-reference-*/result.json",
    "units/*-reference-*/items.npz",
    "units/*-calibrate-*/result.json",
    "units/*-calibrate-*/owners",
    "units/*-search-*/result.json",
    "units/*-train-*/result.json",
    "units/*-score-*/result.json",
    "units/*-score-*/model/config.json",
    "units/*-score-*/model/model.safetensors",
)
DAMAGES = {
    "missing": lambda held: None,
    "cut": lambda held: held[: len(held) // 2],
    "junk": lambda held: b"\x00\xffjunk" * 50,
    "other json": lambda held: b'{"step": "x", "status": 3}',
    "a bit turned": lambda held: (
        held[: len(held) // 2] + bytes([held[len(held) // 2] ^ 1]) + held[len(held) // 2 + 1 :]
    ),
}


def damage(path: Path, how: str) -> None:
    held = DAMAGES[how](path.read_bytes())
    if held is None:
        path.unlink()
    else:
        path.write_bytes(held)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_done_again_or_refused_by_name(half, finished, kind, how):
    path = next(half.glob(kind))
    damage(path, how)
    try:
        found = resume(half, quiet=True)
    except (ValueError, OSError) as error:
        assert path.name == "plan.json", "everything else can be made again"
        message = str(error)
        assert "plan.json" in message and "\n" not in message and "pydantic" not in message
        assert how == "missing" or "delete" in message
    else:
        if path.name != "plan.json":  # a bit in it may be of no account, as in the name of a command
            assert told(found) == told(finished)
        assert resume(half, quiet=True).results == found.results


@pytest.mark.parametrize("how", ["missing", "cut"])
@pytest.mark.parametrize(
    "name", ["results.json", "report.html", "winner/model.safetensors", "winner/task.json"]
)
def test_an_ending_that_is_damaged_is_made_again_as_it_was(copied, finished, capsys, name, how):
    before = hashes(copied)
    damage(copied / name, how)
    resume(copied)
    after = hashes(copied)
    assert name in capsys.readouterr().out
    assert after[name] == before[name] or name in ("report.html", "results.json")
    found = Results.load(copied / "results.json")
    assert found.model_copy(update={"folder": finished.results.folder}) == finished.results, (
        "its time included"
    )
    resume(copied)
    assert hashes(copied) == after


@pytest.mark.parametrize("how", DAMAGES)
def test_the_seal_itself_may_be_damaged(copied, finished, how):
    damage(copied / "finished.json", how)
    assert resume(copied, quiet=True).results.tasks == finished.results.tasks


@pytest.mark.parametrize("version, words", [(99, "a newer version.*update"), (1, "an older version")])
def test_a_plan_of_another_version(copied, version, words):
    plan = json.loads((copied / "plan.json").read_text())
    (copied / "plan.json").write_text(json.dumps({**plan, "version": version, "unheard": 1}))
    with pytest.raises(ValueError, match=rf"plan\.json.*{words}"):
        resume(copied)


def test_damage_inside_the_study_is_mended(half, finished, capsys):
    with closing(sqlite3.connect(half / "study.db")) as database:
        database.execute("UPDATE trial_user_attributes SET value_json = '{\"a\": 1}'")
        database.commit()
    assert told(resume(half)) == told(finished)
    assert "study.db was damaged" in capsys.readouterr().out
    assert (half / "study.db.damaged").exists()


# Data


@pytest.fixture
def data(finished, half, tmp_path) -> Path:
    """The half-done comparison's own copy of the data."""
    path = tmp_path / "data.csv"
    shutil.copy(finished.folder.parent / "data.csv", path)
    plan = (half / "plan.json").read_text(encoding="utf-8")
    (half / "plan.json").write_text(plan.replace(str(finished.folder.parent / "data.csv"), str(path)))
    return path


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: text + "1,1,a\n", r"data\.csv has [\d,]+ bytes where it had [\d,]+"),
        (
            lambda text: text.replace("x,y", "z,y"),
            r"same [\d,]+ bytes \(column 'x' is gone, column 'z' is new\)",
        ),
        (lambda text: text.replace("3,1,a", "3,1,b", 1), "has other content in the same"),
    ],
)
def test_changed_data_is_refused(half, data, change, words):
    before = {k: v for k, v in hashes(half).items() if k != "coordinator.lock"}
    data.write_text(change(data.read_text()))
    with pytest.raises(DataChanged, match=rf"{words}.*--accept-changed-data"):
        resume(half, quiet=True)
    assert {k: v for k, v in hashes(half).items() if k != "coordinator.lock"} == before


def test_data_that_only_looks_new_is_the_same(half, data, finished):
    os.utime(data, (1, 1))
    assert told(resume(half, quiet=True)) == told(finished)


def test_accepted_data_starts_everything_anew(half, data, finished, monkeypatch):
    data.write_text(data.read_text() + "".join(f"{i % 7},{i % 5},b\n" for i in range(40)))
    old = {path.name for path in half.glob("units/*")}
    pools: list[InProcess] = []
    quick(monkeypatch)
    monkeypatch.setattr(module, "TrainingExecutor", TrainingExecutor)
    monkeypatch.setattr(
        "anyformer.compare.run.scheduler.Pool", lambda *a: pools.append(InProcess(*a)) or pools[-1]
    )
    found = resume(half, accept_changed_data=True, quiet=True)
    assert not old & {path.name for path in half.glob("units/*")}, "units of the old data are gone"
    phases = [unit.phase for unit in pools[0].done if unit.phase != "search"]
    assert not [c.reason for c in found.results.tasks[0].candidates if c.status != "ok"]
    assert {phase: phases.count(phase) for phase in set(phases)} == {
        "reference": len(finished.results.tasks[0].references),
        "calibrate": 2,
        "train": 12,
        "score": 6,
        "measure": 2,
        "refit": 1,
    }
    before, after = (
        finished.results.tasks[0].task.facts["samples"],
        found.results.tasks[0].task.facts["samples"],
    )
    assert sum(after.values()) == sum(before.values()) + 40
    assert resume(half, quiet=True).results == found.results


def test_finished_and_accepted_is_begun_anew(copied, finished, tmp_path):
    path = tmp_path / "data.csv"
    plan = (copied / "plan.json").read_text(encoding="utf-8")
    (copied / "plan.json").write_text(plan.replace(str(finished.folder.parent / "data.csv"), str(path)))
    assert resume(copied, quiet=True).results == finished.results, "its data may be gone"


def test_accepting_belongs_to_resuming(tmp_path):
    with pytest.raises(ValueError, match="resume=True"):
        compare("recall", out=tmp_path, accept_changed_data=True)


def test_workers_refuse_data_that_changes_under_them(half, data):
    plan = Plan.load(half)
    unit = Unit(task=plan.tasks[0].name, phase="calibrate", candidate="one", data=plan.tasks[0].data.id)
    data.write_text(data.read_text().replace("3,1,a", "3,1,b", 1))
    with pytest.raises(MachineFault, match="changed"):
        TrainingExecutor(half).execute(unit, half / "units" / unit.id, Heartbeat(half))
    data.unlink()
    with pytest.raises(MachineFault, match="gone"):
        TrainingExecutor(half).execute(unit, half / "units" / unit.id, Heartbeat(half))


# The machine


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EMFILE, "Too many open files"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        sqlite3.OperationalError("database or disk is full"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_the_machine_stops_a_comparison_and_fails_nobody(half, finished, monkeypatch, error):
    monkeypatch.setattr(module, "TrainingExecutor", lambda *a, **k: Replay(finished.folder, {"train": error}))
    with pytest.raises(MachineFault, match=r"stopped.*safe.*no candidate was failed.*--resume"):
        resume(half, quiet=True)
    monkeypatch.setattr(module, "TrainingExecutor", lambda *a, **k: Replay(finished.folder))
    assert told(resume(half, quiet=True)) == told(finished)


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "os.open"])
def test_the_coordinators_own_disk_fails(half, finished, monkeypatch, call):
    def fails(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, fails)
        with pytest.raises(OSError, match="disk is full|No space left"):
            resume(half, quiet=True)
    assert told(resume(half, quiet=True)) == told(finished)


def test_a_storage_that_cannot_be_reached(tmp_path):
    with pytest.raises(MachineFault, match="storage cannot be used|cannot be opened"):
        WorkQueue(tmp_path, f"sqlite:///{tmp_path}/no/such/folder.db")
    with pytest.raises(MachineFault, match="storage cannot be used"):
        WorkQueue(tmp_path, "nonsense://user:secret@host/name")


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "x", "file"), "disk is full, at file"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "written"),
        (ValueError("no space left on device"), None),
        (FileNotFoundError(errno.ENOENT, "x", "elsewhere"), None),
        (FileNotFoundError(errno.ENOENT, "x", "ours/units/file"), "gone"),
        (PermissionError(errno.EACCES, "x", "ours/units/file"), "permission"),
        (RuntimeError("shapes do not match"), None),
    ],
)
def test_faults_of_the_machine_are_told_apart(error, words):
    found = machine_fault(error, Path("ours"))
    assert found is None if words is None else words in (found or "")


def test_a_real_file_that_may_not_grow(tmp_path):
    """torch, safetensors and SQLite say it each in its own words."""
    script = """
import sqlite3, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from anyformer.files import whole_file
from anyformer.machine import machine_fault
sys.path.insert(0, sys.argv[1])
from fakes import limit_files
limit_files(50_000)
big = {"a": torch.ones(100_000)}

def checkpoint(path):
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.save(big, file)

def database(path):
    held = sqlite3.connect(path)
    held.execute("create table t(a)")
    held.execute("insert into t values (?)", ("x" * 200_000,))
    held.commit()

for write in (checkpoint, lambda path: save_file(big, path), database):
    try:
        write(Path(sys.argv[2]) / "file")
    except Exception as error:
        print(machine_fault(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and "None" not in lines, done.stdout + done.stderr
