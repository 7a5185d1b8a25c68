"""Labs that train nothing, and a pool without processes: they count, checkpoint, replay and fail as they are told."""

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

from anyformer.compare.plan.schema import Plan
from anyformer.compare.run.scheduler import Conductor
from anyformer.compare.run.unit_files import Outcome, read_outcome
from anyformer.compare.run.work_queue import Board, Unit
from anyformer.compare.run.worker import Lab, Pulse, Stopped, UnitFailed, run_unit


def limit_files(size: int) -> None:
    """From here on this process can write no file of more bytes, as on a file system that is full."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@dataclass
class FakeLab:
    """Counts to ``unit.steps``. Each process that takes a unit adds a line to the unit's ``log``."""

    step_seconds: float = 0.005
    checkpoint_every: int = 10

    def execute(self, unit: Unit, folder: Path, pulse: Pulse) -> dict[str, Any]:
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
            pulse.tell(step=step, steps=unit.steps)
            if unit.candidate == "dies" and step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            if unit.candidate == "hangs" and step == 5:
                (folder / "hanging").touch()
                threading.Event().wait()
            if unit.candidate == "fills the disk" and step == 5:
                limit_files(1000)
                (folder / "large").write_bytes(bytes(10_000))
            if step % self.checkpoint_every == 0 or pulse.stopping:
                temporary = saved.with_suffix(".tmp")
                temporary.write_text(json.dumps(step))
                os.replace(temporary, saved)
            if pulse.stopping:
                raise Stopped
        return {"score": float(unit.seed or 0), "steps": unit.steps}


class InProcess:
    """Stands in for the pool of workers: runs one unit in this process each time that it is looked after."""

    def __init__(self, board: Board, url: str | None, lab: Lab, *rest: Any) -> None:
        self.board, self.lab = board, lab
        self.done: list[Unit] = []

    def tend(self) -> None:
        claim = self.board.claim()
        assert claim is not None, "units are pending and none can be had"
        try:
            self.board.finish(claim, run_unit(self.lab, claim))
        except BaseException:
            claim.give_back()
            raise
        self.done.append(claim.unit)

    def stop(self) -> None:
        pass


@dataclass
class Replay:
    """A lab that does again what each unit did in the comparison in ``recorded``, in no time, whatever its data."""

    recorded: Path
    fails: dict[str, BaseException] = field(default_factory=dict)
    """By the phase whose units raise it."""

    def execute(self, unit: Unit, folder: Path, pulse: Pulse) -> dict[str, Any]:
        if unit.phase in self.fails:
            raise self.fails[unit.phase]
        data = Plan.load(self.recorded).task(unit.task).data.id
        source = self.recorded / "units" / unit.model_copy(update={"data": data}).id
        for name in ("model", "items.npz"):
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
            elif (source / name).exists():
                shutil.copy(source / name, folder / name)
        outcome = read_outcome(source)
        assert outcome is not None and outcome.status == "ok"
        return outcome.data


@dataclass
class Valley:
    """A lab whose search finds a loss that is a parabola in the logarithm of the learning rate.

    Attributes:
        lowest: the rate of the lowest loss, by candidate; ``shift`` times that in runs of up to ``shift_below`` steps.
        bears: the highest rate that does not diverge.
    """

    lowest: dict[str, float]
    shift: float = 1.0
    shift_below: int = 0
    bears: float = math.inf
    step_seconds: float = 0.01

    def execute(self, unit: Unit, folder: Path, pulse: Pulse) -> dict[str, Any]:
        if unit.phase == "calibrate":
            return {"step_seconds": self.step_seconds, "eval_seconds": self.step_seconds}
        assert unit.phase == "search" and unit.learning_rate is not None
        if unit.learning_rate > self.bears:
            raise UnitFailed("diverged", "the loss was nan")
        lowest = self.lowest[unit.candidate] * (self.shift if unit.steps <= self.shift_below else 1.0)
        loss = math.log(unit.learning_rate / lowest) ** 2
        return {"loss": loss, "score": -loss, "step_seconds": self.step_seconds}


class Books:
    """Stands in for the board: outcomes by unit, in memory."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.outcomes: dict[Unit, Outcome] = {}

    @classmethod
    def mended(cls, folder: Path, url: str | None = None) -> tuple[Books, None]:
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
    """

    folder: Path
    step_seconds: dict[str, float]
    slowness: Callable[[float], float]
    workers: int = 1
    now: float = 0.0
    trained: list[Unit] = field(default_factory=list)

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

    def execute(self, unit: Unit, folder: Path, pulse: Any = None) -> dict[str, Any]:
        task = Plan.load(self.folder).task(unit.task)
        step, found = self.step_seconds[unit.candidate], 1.0
        self.work(0.1)
        if unit.phase == "calibrate":
            return {"step_seconds": self.work(10 * step) / 10, "eval_seconds": self.work(5 * step) / 10}
        if unit.phase == "search":
            assert task.rounds is not None and unit.learning_rate is not None
            pace = self.work(unit.steps * step) / unit.steps
            self.work(task.rounds.valid_items / task.eval_size * step / 2)
            return {"loss": abs(math.log(unit.learning_rate / 5e-3)), "score": 0.0, "step_seconds": pace}
        if unit.phase == "train":
            number = next(n for n, leg in enumerate(task.legs) if leg.steps == unit.steps)
            leg, begun = task.legs[number], task.legs[number - 1].steps if number else 0
            self.trained.append(unit)
            pace = self.work((leg.steps - begun) * step) / (leg.steps - begun)
            points = leg.steps // leg.every - begun // leg.every + leg.is_last
            self.work(points * leg.curve_items / task.eval_size * step / 2)
            return {"step_seconds": pace}
        if unit.phase == "score":
            assert task.final is not None
            items = (
                task.final.valid_items + task.final.test_items + task.final.length_items * sum(task.longer)
            )
            self.work(items / task.eval_size * step / 2)
            return {"score": found}
        before = self.now
        self.now += Plan.load(self.folder).measuring or 0.0  # measures for so long, however fast it is
        return {"seconds": self.now - before}

    def conduct(self, plan: Plan) -> Conductor:
        """A whole comparison on this machine."""

        def run_units(board: Books, pool: Any, units: Any, watch: Any) -> dict[Unit, Outcome]:
            for unit in units:
                if board.outcome(unit) is None:
                    board.outcomes[unit] = Outcome(status="ok", data=self.execute(unit, board.home(unit)))
                watch()
            return {unit: board.outcomes[unit] for unit in units}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("anyformer.compare.run.scheduler.Board", Books)
            patch.setattr("anyformer.compare.run.scheduler.run_units", run_units)
            patch.setattr("anyformer.compare.run.scheduler.system_load", lambda: 0.0)
            patch.setattr("anyformer.compare.plan.clock.time", self)
            conductor = Conductor(plan, self.folder, self, {}, start=self.now)  # type: ignore[arg-type]
            conductor.run()
        return conductor
