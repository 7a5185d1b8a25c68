"""Whatever is killed, every unit is run to its end, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import FakeLab

from anyformer.compare.board import Board, Outcome, Unit
from anyformer.compare.locks import FileLock
from anyformer.compare.run import Clock, Pool, coordinating, run_units
from anyformer.compare.worker import explain, run_unit

HERE = Path(__file__).parent

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def units(*names: str, seeds: int = 2, steps: int = 30, phase: str = "train") -> list[Unit]:
    return [
        Unit(task="t", phase=phase, candidate=name, steps=steps, learning_rate=1e-3, seed=seed)
        for name in names
        for seed in range(seeds)
    ]


@pytest.fixture
def pool(tmp_path):
    pool = Pool(Board(tmp_path), None, FakeLab(), size=2, threads=1)
    yield pool
    pool.stop()


def starts(board: Board, unit: Unit) -> list[int]:
    """The steps from which the processes that took the unit set out."""
    return [int(line) for line in (board.home(unit) / "log").read_text().split()]


def test_a_unit_is_enqueued_once(tmp_path):
    board = Board(tmp_path)
    board.enqueue(units("a", "b"))
    board.enqueue(units("a", "b", "c"))
    assert len(board.trials()) == 6
    assert len({unit.id for unit in units("a", "b", "c")}) == 6


def test_a_claimed_unit_is_nobody_elses(tmp_path):
    first, second = Board(tmp_path), Board(tmp_path)
    first.enqueue(units("a"))
    one, two = first.claim(), second.claim()
    assert one is not None and two is not None and one.unit != two.unit
    assert second.claim() is None
    one.release()  # as the operating system does for a killed process
    again = second.claim()
    assert again is not None and again.unit == one.unit
    second.finish(again, Outcome(status="ok", data={"score": 1.0}))
    assert first.claim() is None
    assert first.unfinished(units("a")) == [two.unit]


def test_quiet_units_run_alone(tmp_path):
    first, second = Board(tmp_path), Board(tmp_path)
    first.enqueue(units("a", phase="measure"))
    claim = first.claim()
    assert claim is not None
    assert second.claim() is None
    first.finish(claim, Outcome(status="ok"))
    assert second.claim() is not None


def test_a_result_that_the_study_did_not_hear_of(tmp_path):
    board = Board(tmp_path)
    board.enqueue(units("a", seeds=1))
    claim = board.claim()
    assert claim is not None
    board.finish(claim, Outcome(status="ok", data={"score": 2.0}))
    assert run_unit(FakeLab(), claim).data == {"score": 2.0}
    assert not (claim.folder / "log").exists()


def test_failures_leave_the_rest_alone(tmp_path, pool):
    found = run_units(pool.board, pool, units("a", "diverges", "greedy", seeds=1))
    by_name = {unit.candidate: outcome for unit, outcome in found.items()}
    assert by_name["a"].status == "ok"
    assert (by_name["diverges"].status, by_name["diverges"].reason) == (
        "diverged",
        "the loss became NaN at step 3",
    )
    assert by_name["greedy"].status == "out_of_memory"


@posix
def test_a_unit_that_kills_its_workers_is_given_up(tmp_path, pool):
    found = run_units(pool.board, pool, units("a", "dies", seeds=1))
    by_name = {unit.candidate: outcome for unit, outcome in found.items()}
    assert by_name["a"].status == "ok"
    assert by_name["dies"].status == "out_of_memory"
    assert "signal 9" in by_name["dies"].reason


@posix
def test_killed_workers_are_replaced(tmp_path, pool):
    work = units("a", "b", seeds=2, steps=300)
    killed = 0
    last = time.monotonic()

    def kill_now_and_then():
        nonlocal killed, last
        begun = [log.parent / "checkpoint.json" for log in tmp_path.glob("units/*/log")]
        ready = begun and all(checkpoint.exists() for checkpoint in begun)  # whichever is hit has one
        if killed < 4 and time.monotonic() - last > 1.2 and ready:
            victim = pool._workers[killed % len(pool._workers)].process
            os.kill(victim.pid, signal.SIGKILL)
            killed, last = killed + 1, time.monotonic()

    found = run_units(pool.board, pool, work, kill_now_and_then)
    assert all(outcome.status == "ok" for outcome in found.values())
    assert killed >= 1
    for unit in work:
        assert starts(pool.board, unit)[0] == 0
        assert all(step > 0 for step in starts(pool.board, unit)[1:]), "a unit started again from nothing"


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_run import FakeLab, Board, Pool, coordinating, run_units, units
if __name__ == "__main__":
    folder = Path({folder!r})
    with coordinating(folder):
        pool = Pool(Board(folder), None, FakeLab(step_seconds=0.01), size=2, threads=1)
        run_units(pool.board, pool, units("a", "b", steps=200))
        pool.stop()
    print("done")
"""


def progress(folder: Path) -> int:
    return sum(int(path.read_text()) for path in folder.glob("units/*/checkpoint.json"))


@posix
def test_kill_everything_several_times(tmp_path):
    """``kill -9`` of the coordinator in the middle of work; its workers must end by themselves."""
    script = tmp_path / "script.py"
    folder = tmp_path / "out"
    script.write_text(SCRIPT.format(here=str(HERE), folder=str(folder)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(3):
        before = progress(folder)
        process = subprocess.Popen([sys.executable, str(script)], env=environment)
        while progress(folder) < before + 50:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    time.sleep(0.5)
    orphaned = progress(folder)
    time.sleep(0.5)
    assert progress(folder) == orphaned, "a worker outlived its coordinator"
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "done", done.stderr
    board = Board(folder)
    assert len(board.trials()) == 4
    for unit in units("a", "b", steps=200):
        outcome = board.outcome(unit)
        assert outcome is not None and outcome.data["steps"] == 200
        assert starts(board, unit).count(0) <= 2, "a unit started again from nothing"
    assert sum(len(starts(board, unit)) for unit in units("a", "b", steps=200)) > 4


def test_one_coordinator_at_a_time(tmp_path):
    lock = FileLock(tmp_path / "coordinator.lock")
    assert lock.acquire()
    with pytest.raises(ValueError, match="another process is already at work"), coordinating(tmp_path):
        pass
    lock.release()
    with coordinating(tmp_path):
        pass


def test_stop_leaves_a_checkpoint(tmp_path):
    pool = Pool(Board(tmp_path), None, FakeLab(checkpoint_every=10**9), size=1, threads=1)
    pool.board.enqueue(units("a", seeds=1, steps=100_000))
    pool.tend()
    while not list(tmp_path.glob("units/*/progress.json")):
        time.sleep(0.05)
    pool.stop()
    assert list(tmp_path.glob("units/*/checkpoint.json"))
    assert pool.board.unfinished(units("a", seeds=1, steps=100_000))


def test_the_clock_goes_on(tmp_path):
    (tmp_path / "clock.json").write_text("100.0")
    assert Clock(tmp_path).seconds >= 100.0


@pytest.mark.parametrize(
    "error, status",
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("shapes do not match"), "failed"),
        (ValueError("no memory of this"), "failed"),
    ],
)
def test_failures_are_told_apart(error, status):
    assert explain(error)[0] == status
