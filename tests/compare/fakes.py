"""A lab that trains nothing: it counts steps, checkpoints and fails as it is told to."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyformer.compare.board import Unit
from anyformer.compare.worker import Pulse, Stopped, UnitFailed


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
            if step % self.checkpoint_every == 0 or pulse.stopping:
                temporary = saved.with_suffix(".tmp")
                temporary.write_text(json.dumps(step))
                os.replace(temporary, saved)
            if pulse.stopping:
                raise Stopped
        return {"score": float(unit.seed or 0), "steps": unit.steps}
