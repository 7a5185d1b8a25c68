"""Labs that train nothing, and a pool without processes: they count, checkpoint, replay and fail as they are told."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyformer.compare.board import Board, Unit
from anyformer.compare.plan import Plan
from anyformer.compare.remains import read_outcome
from anyformer.compare.worker import Lab, Pulse, Stopped, UnitFailed, run_unit


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
