"""Executors that train nothing, and a pool without processes: they count, checkpoint, replay, fail as they are told."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anyformer.compare.plan.request import Request, check_request
from anyformer.compare.plan.schema import Calibration, Plan
from anyformer.compare.results import Costs, EarlyStop, Sample
from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.run.unit import Found, Outcome, Scored, Searched, Trained, Unit
from anyformer.compare.run.unit_files import read_outcome
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.compare.run.worker import Executor, Heartbeat, Stopped, UnitFailed, run_unit

DONE = Trained(step_seconds=1.0, seconds=2.0)


def units(*names: str, seeds: int = 2, steps: int = 30, phase: str = "train") -> list[Unit]:
    return [
        Unit(task="t", phase=phase, candidate=name, steps=steps, learning_rate=1e-3, seed=seed)
        for name in names
        for seed in range(seeds)
    ]


def request(**changes: Any) -> Request:
    """Checked arguments of a comparison, with some changed."""
    given = {
        "budget": "60s",
        "hold": "parameters",
        "equal": "budget",
        "seeds": 3,
        "workers": 1,
        "parameters": None,
        "batch_size": None,
        **changes,
    }
    return check_request(**given)


def limit_files(size: int) -> None:
    """From here on this process can write no file of more bytes, as on a file system that is full."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@dataclass
class FakeExecutor:
    """Counts to ``unit.steps``. Each process that takes a unit adds a line to the unit's ``log``."""

    step_seconds: float = 0.005
    checkpoint_every: int = 10

    def execute(self, unit: Unit, folder: Path, heartbeat: Heartbeat) -> Found:
        saved = folder / "checkpoint.json"
        start = json.loads(saved.read_text()) if saved.exists() else 0
        with open(folder / "log", "a") as log:
            log.write(f"{start}\n")
        if unit.candidate == "diverges":
            raise UnitFailed("diverged", "the loss became NaN at step 3")
        if unit.candidate == "greedy":
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")
        for step in range(start + 1, unit.steps + 1):
            time.sleep(self.step_seconds)
            heartbeat.tell(step=step, steps=unit.steps)
            if unit.candidate == "dies" and step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            if unit.candidate == "hangs" and step == 5:
                (folder / "hanging").touch()
                threading.Event().wait()
            if unit.candidate == "fills the disk" and step == 5:
                limit_files(1000)
                (folder / "large").write_bytes(bytes(10_000))
            if step % self.checkpoint_every == 0 or heartbeat.stopping:
                temporary = saved.with_suffix(".tmp")
                temporary.write_text(json.dumps(step))
                os.replace(temporary, saved)
            if heartbeat.stopping:
                raise Stopped
        if unit.phase == "measure":
            return Costs()
        return Trained(step_seconds=self.step_seconds, seconds=float(unit.steps))


class InProcess:
    """Stands in for the pool of workers: runs one unit in this process each time that it is looked after."""

    def __init__(self, queue: WorkQueue, url: str | None, executor: Executor, *rest: Any) -> None:
        self.queue, self.executor = queue, executor
        self.done: list[Unit] = []

    def tend(self) -> None:
        claim = self.queue.claim()
        assert claim is not None, "units are pending and none can be had"
        try:
            self.queue.finish(claim, run_unit(self.executor, claim))
        except BaseException:
            claim.give_back()
            raise
        self.done.append(claim.unit)

    def stop(self) -> None:
        pass


def in_process(patch: pytest.MonkeyPatch) -> None:
    """Units are run in this process, so that there is nothing to wait for."""
    patch.setattr("anyformer.compare.run.scheduler.Pool", InProcess)
    patch.setattr("anyformer.compare.run.pool.POLL_SECONDS", 0.0)


def quick(patch: pytest.MonkeyPatch) -> None:
    """Measurements that need not be exact."""
    patch.setattr("anyformer.compare.run.executor.CALIBRATION_SECONDS", 0.01)
    patch.setattr("anyformer.compare.plan.schema.Plan.measure_seconds", 0.01)


@dataclass
class Replay:
    """Does again what each unit did in the comparison in ``recorded``, in no time, whatever its data."""

    recorded: Path
    fails: dict[str, BaseException] = field(default_factory=dict)
    """By the phase whose units raise it."""

    def execute(self, unit: Unit, folder: Path, heartbeat: Heartbeat) -> Found:
        if unit.phase in self.fails:
            raise self.fails[unit.phase]
        data = Plan.load(self.recorded).task(unit.task).data.id
        source = self.recorded / "units" / unit.model_copy(update={"data": data}).id
        for name in ("model", "items.npz"):
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
            elif (source / name).exists():
                shutil.copy(source / name, folder / name)
        outcome = read_outcome(source, unit.phase)
        assert outcome is not None and outcome.found is not None
        return outcome.found


@dataclass
class Valley:
    """An executor whose search finds a loss that is a parabola in the logarithm of the learning rate.

    Attributes:
        lowest: the rate of the lowest loss, by candidate; ``shift`` times that in runs of up to ``shift_below`` steps.
        bears: the highest rate that does not diverge.
    """

    lowest: dict[str, float]
    shift: float = 1.0
    shift_below: int = 0
    bears: float = math.inf
    step_seconds: float = 0.01

    def execute(self, unit: Unit, folder: Path, heartbeat: Heartbeat) -> Found:
        if unit.phase == "calibrate":
            return Calibration(step_seconds=self.step_seconds, eval_seconds=self.step_seconds)
        assert unit.phase == "search" and unit.learning_rate is not None
        if unit.learning_rate > self.bears:
            raise UnitFailed("diverged", "the loss was nan")
        lowest = self.lowest[unit.candidate] * (self.shift if unit.steps <= self.shift_below else 1.0)
        loss = math.log(unit.learning_rate / lowest) ** 2
        return Searched(loss=loss, score=-loss, step_seconds=self.step_seconds)


class InMemoryQueue:
    """Stands in for the queue: outcomes by unit, in memory."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.outcomes: dict[Unit, Outcome] = {}

    @classmethod
    def opened(cls, folder: Path, url: str | None = None) -> tuple[InMemoryQueue, None]:
        return cls(folder, url), None

    def home(self, unit: Unit) -> Path:
        return self.folder / "units" / unit.id

    def drop(self, wanted: Any) -> None:
        pass

    def drop_spoiled(self, units: Any) -> list[Path]:
        return []

    def unfinished(self, units: Any) -> list[Unit]:
        return [unit for unit in units if unit not in self.outcomes]

    def outcome(self, unit: Unit) -> Outcome | None:
        return self.outcomes.get(unit)


@dataclass
class Machine:
    """A machine whose speed changes, and a clock that its work moves on; it trains nothing.

    Attributes:
        step_seconds: by candidate, at the speed of 1.
        slowness: by how much steps take longer, at a time.
        workers: units at work at the same time; each has its share of every second.
        stopping: finds candidates that can no longer win.
    """

    folder: Path
    step_seconds: dict[str, float]
    slowness: Callable[[float], float]
    workers: int = 1
    now: float = 0.0
    trained: list[Unit] = field(default_factory=list)
    stopping: Callable[..., dict[str, EarlyStop]] = lambda leg, runs, untrained: {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        pass

    def work(self, seconds: float) -> float:
        """Does what takes so long at the speed of 1, and returns how long it took."""
        begin, left = self.now, seconds
        while left > 0:
            piece = min(left, 0.05)
            self.now += piece * self.slowness(self.now) / self.workers
            left -= piece
        return (self.now - begin) * self.workers

    def execute(self, unit: Unit, folder: Path, heartbeat: Any = None) -> Found:
        task = Plan.load(self.folder).task(unit.task)
        step = self.step_seconds[unit.candidate]
        self.work(0.1)
        if unit.phase == "calibrate":
            return Calibration(step_seconds=self.work(10 * step) / 10, eval_seconds=self.work(5 * step) / 10)
        if unit.phase == "search":
            assert task.rounds is not None and unit.learning_rate is not None
            pace = self.work(unit.steps * step) / unit.steps
            self.work(task.rounds.valid_items / task.eval_size * step / 2)
            return Searched(loss=abs(math.log(unit.learning_rate / 5e-3)), score=0.0, step_seconds=pace)
        if unit.phase == "train":
            legs = task.legs_of(unit.candidate)
            number = next(n for n, leg in enumerate(legs) if leg.steps == unit.steps)
            leg, begun = legs[number], legs[number - 1].steps if number else 0
            self.trained.append(unit)
            pace = self.work((leg.steps - begun) * step) / (leg.steps - begun)
            points = leg.steps // leg.every - begun // leg.every + leg.is_last
            self.work(points * leg.curve_items / task.eval_size * step / 2)
            return Trained(step_seconds=pace, seconds=0.0)
        if unit.phase == "score":
            assert task.final is not None
            items = (
                task.final.valid_items + task.final.test_items + task.final.length_items * sum(task.longer)
            )
            self.work(items / task.eval_size * step / 2)
            test = Sample(score=1.0)
            return Scored(score=1.0, valid=1.0, test=test, seconds=0.0, curve=[], by_length={})
        self.now += Plan.load(self.folder).measuring or 0.0  # measures for so long, however fast it is
        return Costs()

    def conduct(self, plan: Plan) -> Scheduler:
        """A whole comparison on this machine."""

        def run_units(queue: InMemoryQueue, pool: Any, units: Any, watch: Any) -> dict[Unit, Outcome]:
            for unit in units:
                if queue.outcome(unit) is None:
                    queue.outcomes[unit] = Outcome("ok", found=self.execute(unit, queue.home(unit)))
                watch()
            return {unit: queue.outcomes[unit] for unit in units}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("anyformer.compare.run.scheduler.WorkQueue", InMemoryQueue)
            patch.setattr("anyformer.compare.run.scheduler.run_units", run_units)
            patch.setattr("anyformer.compare.run.scheduler.system_load", lambda: 0.0)
            patch.setattr("anyformer.compare.plan.clock.time", self)
            stopping = {task.name: self.stopping for task in plan.tasks}
            scheduler = Scheduler(plan, self.folder, self, {}, stopping, start=self.now)  # type: ignore[arg-type]
            scheduler.run()
        return scheduler
