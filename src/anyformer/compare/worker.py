"""A worker: a process that takes units from the board and runs them until it is told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from anyformer.compare.board import Board, Claim, Outcome, Unit, read_outcome
from anyformer.compare.results import Status, write_atomically

PROGRESS_SECONDS = 0.4
CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.02
"""At most this part of the time goes into checkpoints."""


class Stopped(Exception):
    """The worker was told to stop; the unit has left a checkpoint and stays on the board."""


class UnitFailed(Exception):
    """The unit cannot be finished, for a reason that belongs in the report."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Pulse:
    """What a running unit tells the outside, and what it hears: progress, and when to checkpoint or stop."""

    def __init__(self, folder: Path, stop: threading.Event | None = None) -> None:
        self.folder = folder
        self._stop = stop or threading.Event()
        self._told = 0.0
        self._saved = time.monotonic()
        self._every = CHECKPOINT_SECONDS

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def tell(self, **progress: Any) -> None:
        """Leaves word of the progress in the unit's folder, a few times a second at most."""
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            path = self.folder / "progress.json"
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"pid": os.getpid(), **progress}), encoding="utf-8")
            os.replace(temporary, path)

    def checkpoint_due(self) -> bool:
        return self.stopping or time.monotonic() - self._saved >= self._every

    def checkpointed(self, seconds: float) -> None:
        """A checkpoint was written, in so many seconds; slow ones are written less often."""
        self._saved = time.monotonic()
        self._every = max(CHECKPOINT_SECONDS, seconds / CHECKPOINT_SHARE)


class Lab(Protocol):
    """What units do. It travels to the workers by pickling."""

    def execute(self, unit: Unit, folder: Path, pulse: Pulse) -> dict[str, Any]:
        """Runs the unit, from its checkpoint in ``folder`` where there is one.

        Raises:
            UnitFailed: with what belongs in the report.
            Stopped: when ``pulse.stopping``, after a checkpoint.
        """


def work(folder: Path, url: str | None, lab: Lab, threads: int, line: Connection) -> None:
    """The main function of a worker process. ``line`` closes, or says anything, when it should stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    from anyformer.train.memory import keep_freed_memory, return_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(line, stop), daemon=True).start()
    board = Board(folder, url)
    while not stop.is_set():
        claim = board.claim()
        if claim is None:
            stop.wait(0.2)
            continue
        try:
            outcome = run_unit(lab, claim, stop)
        except Stopped:
            claim.release()
            return
        board.finish(claim, outcome)
        return_freed_memory()


def _listen(line: Connection, stop: threading.Event) -> None:
    """Waits for the parent's word; without a parent the process ends at once, as if it had been killed."""
    try:
        line.recv()
    except (EOFError, OSError):
        os._exit(1)
    stop.set()


def run_unit(lab: Lab, claim: Claim, stop: threading.Event | None = None) -> Outcome:
    """Runs a claimed unit; every failure becomes an outcome, so that the others go on."""
    done = read_outcome(claim.folder)  # killed between writing the result and telling the study
    if done is not None:
        return done
    try:
        return Outcome(status="ok", data=lab.execute(claim.unit, claim.folder, Pulse(claim.folder, stop)))
    except Stopped:
        raise
    except UnitFailed as error:
        return Outcome(status=error.status, reason=error.reason)
    except Exception as error:
        write_atomically(claim.folder / "error.txt", traceback.format_exc())
        status, reason = explain(error)
        return Outcome(status=status, reason=reason)


OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|failed to allocate", re.IGNORECASE
)


def explain(error: BaseException) -> tuple[Status, str]:
    """A failure as a status and one line."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(text)):
        return "out_of_memory", text or "no memory was left"
    return "failed", f"{type(error).__name__}: {text}" if text else type(error).__name__
