"""Every unit is in the queue once, and one worker has it."""

from __future__ import annotations

from fakes import DONE, units

from anyformer.compare.results import Costs
from anyformer.compare.run.unit import Outcome
from anyformer.compare.run.unit_files import Incident, add_incident
from anyformer.compare.run.work_queue import WorkQueue


def test_a_unit_is_enqueued_once(tmp_path):
    queue = WorkQueue(tmp_path)
    queue.enqueue(units("a", "b"))
    queue.enqueue(units("a", "b", "c"))
    assert len(queue.trials()) == 6
    assert len({unit.id for unit in units("a", "b", "c")}) == 6


def test_a_claimed_unit_is_nobody_elses(tmp_path):
    first, second = WorkQueue(tmp_path), WorkQueue(tmp_path)
    first.enqueue(units("a"))
    one, two = first.claim(), second.claim()
    assert one is not None and two is not None and one.unit != two.unit
    assert second.claim() is None
    one.release()  # as the operating system does for a killed process
    again = second.claim()
    assert again is not None and again.unit == one.unit
    second.finish(again, Outcome("ok", found=DONE))
    assert first.claim() is None
    assert first.unfinished(units("a")) == [two.unit]


def test_a_claim_removes_what_killed_workers_left_but_not_what_the_coordinator_writes(tmp_path):
    queue = WorkQueue(tmp_path)
    queue.enqueue(units("a", seeds=1))
    home = queue.home(units("a", seeds=1)[0])
    home.mkdir(parents=True)
    left, written = home / ".checkpoint.pt.7.tmp", home / ".troubles.json.8.tmp"
    left.touch()
    written.touch()
    assert queue.claim() is not None
    assert written.exists() and not left.exists()


def test_quiet_units_run_alone(tmp_path):
    first, second = WorkQueue(tmp_path), WorkQueue(tmp_path)
    first.enqueue(units("a", phase="measure"))
    claim = first.claim()
    assert claim is not None
    assert second.claim() is None
    first.finish(claim, Outcome("ok", found=Costs()))
    assert second.claim() is not None


def test_healthy_units_go_before_those_in_trouble(tmp_path):
    queue = WorkQueue(tmp_path)
    work = units("dying", "killed", "small", "healthy", seeds=1)
    queue.enqueue(work)
    for name, kind in (("dying", "hung"), ("small", "memory")):
        home = queue.home(next(unit for unit in work if unit.candidate == name))
        add_incident(home, Incident(kind=kind))
    orphan = queue.take(work[1])
    assert orphan is not None
    orphan.release()  # with its process
    first = queue.claim()
    assert first is not None and first.unit.candidate == "healthy"
    assert [claim.unit.candidate for claim in (queue.claim(), queue.claim())] == ["dying", "killed"]
    assert queue.claim() is None, "what was short of memory runs when nothing else does"
    for claim in (first,):
        queue.finish(claim, Outcome("ok", found=DONE))
    assert queue.claim() is None


def test_a_stopped_unit_is_not_in_trouble(tmp_path):
    queue = WorkQueue(tmp_path)
    queue.enqueue(units("a", "b", seeds=1))
    claim = queue.claim()
    assert claim is not None
    claim.give_back()
    again = queue.claim()
    assert again is not None and again.unit == claim.unit


def test_the_folders_database_does_not_wait_for_the_disk(tmp_path):
    own, given = WorkQueue(tmp_path / "own"), WorkQueue(tmp_path, f"sqlite:///{tmp_path}/given.db")
    for queue, level in ((own, 0), (given, 2)):
        with queue.storage.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
