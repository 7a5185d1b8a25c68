"""A unit that fails is an outcome, and a machine that fails is none."""

from __future__ import annotations

import pytest
from fakes import DONE, FakeExecutor, units

from anyformer.compare.run.unit import Outcome
from anyformer.compare.run.unit_files import Incident, add_incident
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.compare.run.worker import MemoryContention, run_unit
from anyformer.machine import MachineFault


def test_a_result_that_the_study_did_not_hear_of(tmp_path):
    queue = WorkQueue(tmp_path)
    queue.enqueue(units("a", seeds=1))
    claim = queue.claim()
    assert claim is not None
    queue.finish(claim, Outcome("ok", found=DONE))
    assert run_unit(FakeExecutor(), claim).found == DONE
    assert not (claim.folder / "log").exists()


class Thirsty:
    """An executor whose units get no memory, little as they ask for."""

    def execute(self, unit, folder, heartbeat):
        raise MemoryError("Unable to allocate 3.00 KiB for an array")


def test_memory_that_others_took(tmp_path, monkeypatch):
    queue = WorkQueue(tmp_path)
    queue.enqueue(units("a", seeds=1))
    monkeypatch.setattr("anyformer.machine.total_memory", lambda: 64 << 30)
    claim = queue.claim()
    assert claim is not None
    with pytest.raises(MemoryContention):
        run_unit(Thirsty(), claim)
    add_incident(claim.folder, Incident(kind="memory"))
    monkeypatch.setattr("anyformer.compare.run.worker.memory_is_short", lambda: True)
    with pytest.raises(MachineFault, match="memory is short"):
        run_unit(Thirsty(), claim)
    monkeypatch.setattr("anyformer.compare.run.worker.memory_is_short", lambda: False)
    assert run_unit(Thirsty(), claim).status == "out_of_memory", (
        "there is enough: it is the candidate's doing"
    )
