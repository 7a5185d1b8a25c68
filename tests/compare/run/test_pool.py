"""Whatever is killed, every unit is run to its end, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import FakeExecutor, units
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.compare.run.locks import FileLock
from anyformer.compare.run.pool import (
    INCIDENTS,
    PATIENCE_SECONDS,
    Limits,
    Pool,
    _Worker,
    coordinating,
    run_units,
)
from anyformer.compare.run.unit import Unit
from anyformer.compare.run.unit_files import read_incidents
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.machine import MachineFault, takes_most_memory

HERE = Path(__file__).parent


posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")


@pytest.fixture
def pool(tmp_path):
    pool = Pool(WorkQueue(tmp_path), None, FakeExecutor(), size=2, threads=1)
    yield pool
    pool.stop()


def starts(queue: WorkQueue, unit: Unit) -> list[int]:
    """The steps from which the processes that took the unit set out."""
    return [int(line) for line in (queue.home(unit) / "log").read_text().split()]


def test_failures_leave_the_rest_alone(tmp_path, pool):
    found = run_units(pool.queue, pool, units("a", "diverges", "greedy", seeds=1))
    by_name = {unit.candidate: outcome for unit, outcome in found.items()}
    assert by_name["a"].status == "ok"
    assert (by_name["diverges"].status, by_name["diverges"].reason) == (
        "diverged",
        "the loss became NaN at step 3",
    )
    assert by_name["greedy"].status == "out_of_memory"


@posix
def test_a_unit_that_kills_its_workers_is_given_up(tmp_path, pool):
    found = run_units(pool.queue, pool, units("a", "dies", seeds=1))
    by_name = {unit.candidate: outcome for unit, outcome in found.items()}
    assert by_name["a"].status == "ok"
    assert by_name["dies"].status == "out_of_memory"
    assert "signal 9" in by_name["dies"].reason


@posix
def test_killed_workers_are_replaced(tmp_path, pool):
    work = units("a", "b", seeds=2, steps=300)
    killed_at: dict[Unit, int] = {}

    def kill_now_and_then():
        for worker in pool._workers:
            reached = checkpoint(pool.queue, worker.unit) if worker.unit else 0
            if len(killed_at) < 4 and worker.unit not in killed_at and reached:
                os.kill(worker.process.pid, signal.SIGKILL)
                killed_at[worker.unit] = reached

    found = run_units(pool.queue, pool, work, kill_now_and_then)
    assert all(outcome.status == "ok" for outcome in found.values())
    assert killed_at
    for unit, reached in killed_at.items():
        begun = starts(pool.queue, unit)
        assert begun[0] == 0
        assert all(step >= reached for step in begun[1:]), "a unit started again from before its checkpoint"


def checkpoint(queue: WorkQueue, unit: Unit) -> int:
    path = queue.home(unit) / "checkpoint.json"
    return int(path.read_text()) if path.exists() else 0


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from fakes import FakeExecutor, units
from anyformer.compare.run.pool import Pool, coordinating, run_units
from anyformer.compare.run.work_queue import WorkQueue
if __name__ == "__main__":
    folder = Path({folder!r})
    with coordinating(folder):
        pool = Pool(WorkQueue(folder), None, FakeExecutor(step_seconds=0.01), size=2, threads=1)
        run_units(pool.queue, pool, units("a", "b", steps=200))
        pool.stop()
    print("done")
"""


def progress(folder: Path) -> int:
    return sum(int(path.read_text()) for path in folder.glob("units/*/checkpoint.json"))


def wait_for(condition, otherwise: str) -> None:
    """Waits until the condition holds, however slow the machine is."""
    deadline = time.monotonic() + 900
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


@posix
def test_kill_everything_several_times(tmp_path):
    """``kill -9`` of the coordinator in the middle of work; its workers must end by themselves."""
    script = tmp_path / "script.py"
    folder = tmp_path / "out"
    script.write_text(SCRIPT.format(here=str(HERE.parent), folder=str(folder)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for _ in range(2):
        before = progress(folder)
        process = subprocess.Popen([sys.executable, str(script)], env=environment)
        while progress(folder) < before + 50:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    for path in folder.glob("units/*/lock"):
        lock = FileLock(path)
        wait_for(lock.acquire, "a worker outlived its coordinator")
        lock.release()
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.stdout.strip() == "done", done.stderr
    queue = WorkQueue(folder)
    assert len(queue.trials()) == 4
    for unit in units("a", "b", steps=200):
        outcome = queue.outcome(unit)
        assert outcome is not None and outcome.found.seconds == 200
        assert starts(queue, unit).count(0) <= 2, "a unit started again from nothing"
    assert sum(len(starts(queue, unit)) for unit in units("a", "b", steps=200)) > 4


def test_one_coordinator_at_a_time(tmp_path):
    lock = FileLock(tmp_path / "coordinator.lock")
    assert lock.acquire()
    with pytest.raises(ValueError, match="another process is already at work"), coordinating(tmp_path):
        pass
    lock.release()
    with coordinating(tmp_path):
        pass


def test_stop_leaves_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("anyformer.compare.run.pool.PATIENCE_SECONDS", 120.0)
    pool = Pool(WorkQueue(tmp_path), None, FakeExecutor(checkpoint_every=10**9), size=1, threads=1)
    pool.queue.enqueue(units("a", seeds=1, steps=100_000))
    pool.tend()
    wait_for(lambda: list(tmp_path.glob("units/*/progress.json")), "no unit was begun")
    pool.stop()
    assert list(tmp_path.glob("units/*/checkpoint.json"))
    assert pool.queue.unfinished(units("a", seeds=1, steps=100_000))


@posix
def test_a_worker_in_a_long_step_does_not_keep_ctrl_c_waiting(tmp_path):
    """Two seconds are left for a last checkpoint, of the three in which Ctrl-C is answered; then it is killed."""
    assert PATIENCE_SECONDS <= 2
    pool = Pool(WorkQueue(tmp_path), None, FakeExecutor(), size=1, threads=1)
    (unit,) = units("hangs", seeds=1)
    pool.queue.enqueue([unit])
    pool.tend()
    wait_for((pool.queue.home(unit) / "hanging").exists, "the unit did not come to its long step")
    process = pool._workers[0].process
    pool.stop()
    assert process.exitcode == -signal.SIGKILL
    assert pool.queue.claim() is not None, "the unit is in the queue still"


@posix
def test_a_unit_that_hangs_is_ended_and_reported(tmp_path):
    limits = Limits(seconds=3.0, gaps=0.0, before=600.0)
    pool = Pool(WorkQueue(tmp_path), None, FakeExecutor(step_seconds=0.0), size=1, threads=1, limits=limits)
    try:
        found = run_units(pool.queue, pool, units("hangs", "a", seeds=1, steps=10))
    finally:
        pool.stop()
    by_name = {unit.candidate: outcome for unit, outcome in found.items()}
    assert by_name["a"].status == "ok"
    assert by_name["hangs"].status == "failed"
    assert "hung 2 times" in by_name["hangs"].reason and "nothing happened" in by_name["hangs"].reason


@posix
def test_a_full_disk_stops_the_workers_and_fails_nobody(tmp_path):
    pool = Pool(WorkQueue(tmp_path), None, FakeExecutor(), size=1, threads=1)
    work = units("fills the disk", "a", seeds=1)
    try:
        with pytest.raises(MachineFault, match="may not grow"):
            run_units(pool.queue, pool, work)
    finally:
        pool.stop()
    assert work[0] in pool.queue.unfinished(work)
    claims = [pool.queue.claim(), pool.queue.claim()]
    assert work[0] in [claim.unit for claim in claims if claim]


class Still:
    """A process that is not there."""

    exitcode = -9
    killed = False

    def kill(self) -> None:
        self.killed = True

    def join(self, *args) -> None:
        pass


@settings(derandomize=True, max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=20, max_size=20))
def test_a_unit_that_dies_at_changing_steps_has_an_end(tmp_path_factory, steps):
    queue = WorkQueue(tmp_path_factory.mktemp("deaths"))
    pool = Pool(queue, None, FakeExecutor(), size=1, threads=1)
    (unit,) = units("a", seeds=1)
    queue.enqueue([unit])
    home = queue.home(unit)
    home.mkdir(parents=True)
    for step in steps:
        (home / "progress.json").write_text(json.dumps({"step": step, "steps": 1000}))
        pool._bury(_Worker(Still(), None, unit))
        if queue.outcome(unit):
            break
    outcome = queue.outcome(unit)
    assert outcome is not None and outcome.status == "out_of_memory"
    assert 3 <= len(read_incidents(home)) <= INCIDENTS
    assert queue.claim() is None


@pytest.mark.parametrize("slowest", [0.0, 2.0])
def test_silence_is_judged_by_the_unit_itself(monkeypatch, slowest):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    worker = _Worker(Still(), None)
    worker.took(units("a", seeds=1)[0])

    def watch(beats: int, seconds: float) -> bool:
        for _ in range(round(seconds * 10)):
            now[0] += 0.1
            worker.watch(beats, Limits(seconds=10.0, gaps=20.0, before=30.0))
        return worker.process.killed

    assert not watch(0, 29), "before the first sign it has longer"
    watch(1, slowest)
    watch(2, 0.1)
    assert watch(2, 9) is False
    assert watch(2, 3) is (slowest == 0), "slow steps have longer"
    now[0] += 1000
    worker.watch(2, Limits())
    assert watch(2, 20 * slowest) is True
    if slowest:
        assert "2." in worker.hung


def test_a_pause_of_our_own_is_no_silence(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    worker = _Worker(Still(), None)
    worker.took(units("a", seeds=1)[0])
    worker.watch(1, Limits())
    now[0] += 10_000  # stopped with Ctrl-Z, or the machine slept
    worker.watch(1, Limits())
    assert not worker.process.killed


@pytest.mark.parametrize(
    "text, own",
    [
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4611686018427387904 bytes", True),
        ("Unable to allocate 7.45 TiB for an array", True),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.", False),
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 80.00 GiB of which 1.00 GiB "
            "is free. Including non-PyTorch memory, this process has 70.00 GiB memory in use.",
            True,
        ),
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 80.00 GiB of which 1.00 GiB "
            "is free. Including non-PyTorch memory, this process has 3.00 GiB memory in use.",
            False,
        ),
    ],
)
def test_whose_memory_it_was(monkeypatch, text, own):
    monkeypatch.setattr("anyformer.machine.total_memory", lambda: 64 << 30)
    monkeypatch.setattr("anyformer.machine.resident_memory", lambda: 1 << 30)
    assert takes_most_memory(RuntimeError(text)) is own
