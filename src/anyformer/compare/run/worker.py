"""Workers: processes that take units from the queue and run them until they are told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, Protocol

from anyformer.compare.results import Status
from anyformer.compare.results.failures import explain
from anyformer.compare.run.spawn import Packed
from anyformer.compare.run.unit import Found, Outcome, Unit
from anyformer.compare.run.unit_files import (
    Incident,
    Progress,
    add_incident,
    read_incidents,
    read_outcome,
    read_progress,
    write_progress,
)
from anyformer.compare.run.work_queue import Claim, WorkQueue
from anyformer.files import write_atomically
from anyformer.machine import MachineFault, is_memory_error, machine_fault, memory_is_short, takes_most_memory
from anyformer.train.checkpoints import CheckpointTimer

PROGRESS_SECONDS = 0.4


class Stopped(Exception):
    """The worker was told to stop; the unit has written a checkpoint and stays in the queue."""


class MemoryContention(Exception):
    """A small allocation failed because of other processes; the unit stays in the queue and is run alone."""


class UnitFailed(Exception):
    """The unit cannot be finished, for a reason that belongs in the report."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Message:
    """Message of a worker to its parent: the unit that it takes, that it has none, or why it cannot work."""

    kind: Literal["took", "free", "fault", "refused", "broken"]
    unit: Unit | None = None
    text: str = ""


class Heartbeat:
    """Communication of a running unit: it reports progress, and learns when to write a checkpoint or stop."""

    def __init__(self, folder: Path, stop: threading.Event | None = None) -> None:
        self.folder = folder
        self._stop = stop or threading.Event()
        self._told = 0.0
        self.checkpoints = CheckpointTimer()
        self._progress = Progress(pid=os.getpid())

    @property
    def stopping(self) -> bool:
        """True if the unit must write a checkpoint and stop."""
        return self._stop.is_set()

    def tell(
        self, *, step: int, steps: int, begun: int = 0, loss: float | None = None, valid: float | None = None
    ) -> None:
        """Report progress; it is written to the unit's folder at most a few times a second."""
        beats, pid = self._progress.beats, self._progress.pid
        self._progress = Progress(
            step=step, steps=steps, begun=begun, loss=loss, valid=valid, beats=beats, pid=pid
        )
        self.beat()

    def beat(self) -> None:
        """Give a sign of life. A unit that gives none for long counts as hung."""
        self._progress.beats += 1
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            write_progress(self.folder, self._progress)

    def checkpoint_due(self) -> bool:
        """Return True if a checkpoint must be written now."""
        return self.stopping or self.checkpoints.due


class Executor(Protocol):
    """Runs units. It is pickled to the workers."""

    def execute(self, unit: Unit, folder: Path, heartbeat: Heartbeat) -> Found:
        """Run a unit, from its checkpoint in ``folder`` if there is one.

        Raises:
            UnitFailed: if it cannot be finished; the reason is for the report.
            Stopped: after a checkpoint, once ``heartbeat.stopping`` is true.
        """


def work(folder: Path, url: str | None, packed: Packed, threads: int, connection: Connection) -> None:
    """Run a worker: the main function of its process. Any message on ``connection``, or its end, stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    from anyformer.train.memory import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(connection, stop), daemon=True).start()
    try:
        _work(WorkQueue(folder, url), packed.unpack(), stop, connection)
    except MachineFault as error:
        connection.send(Message("fault", text=str(error)))
    except ValueError as error:  # the executor cannot be unpickled here
        connection.send(Message("refused", text=str(error)))
    except Exception:
        connection.send(Message("broken", text=traceback.format_exc()))


def _work(queue: WorkQueue, executor: Executor, stop: threading.Event, connection: Connection) -> None:
    from anyformer.train.memory import return_freed_memory

    while not stop.is_set():
        claim = queue.claim()
        if claim is None:
            stop.wait(0.2)
            continue
        connection.send(Message("took", claim.unit))
        try:
            outcome = run_unit(executor, claim, stop)
            queue.finish(claim, outcome)
        except Stopped:
            claim.give_back()
            return
        except MemoryContention as error:
            step = read_progress(claim.folder).step
            add_incident(claim.folder, Incident(kind="memory", step=step, what=str(error)))
            claim.give_back()
        except Exception as error:
            claim.give_back()
            fault = machine_fault(error, queue.folder)
            if fault is None or isinstance(error, MachineFault):
                raise
            raise MachineFault(fault) from error
        connection.send(Message("free"))
        return_freed_memory()


def _listen(connection: Connection, stop: threading.Event) -> None:
    """Wait for the parent's message to stop; if the parent dies, end this process at once."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)
    stop.set()


def run_unit(executor: Executor, claim: Claim, stop: threading.Event | None = None) -> Outcome:
    """Run a claimed unit. Every failure of the candidate becomes an outcome, so that the others go on.

    Raises:
        Stopped: if the worker was told to stop.
        MemoryContention: if a small allocation failed because of other processes.
        MachineFault: if the machine failed, not the candidate.
    """
    done = read_outcome(
        claim.folder, claim.unit.phase
    )  # killed between writing the result and telling the study
    if done is not None:
        return done
    try:
        return Outcome("ok", found=executor.execute(claim.unit, claim.folder, Heartbeat(claim.folder, stop)))
    except Stopped:
        raise
    except UnitFailed as error:
        return Outcome(status=error.status, reason=error.reason)
    except Exception as error:
        fault = machine_fault(error, claim.folder)
        if fault is not None:
            raise MachineFault(fault) from error
        if is_memory_error(error) and not takes_most_memory(error):
            _blame(error, claim)
        write_atomically(claim.folder / "error.txt", traceback.format_exc())
        status, reason = explain(error)
        return Outcome(status=status, reason=reason)


def _blame(error: BaseException, claim: Claim) -> None:
    """Decide who is to blame for a failed small allocation; return if it is the candidate.

    Raises:
        MemoryContention: the first time; the unit is then run again without others of the comparison beside it.
        MachineFault: if it fails again, and the machine is short of memory because of other programs.
    """
    text = explain(error)[1]
    if not any(incident.kind == "memory" for incident in read_incidents(claim.folder)):
        raise MemoryContention(text) from error
    if memory_is_short():
        raise MachineFault(f"memory is short, and not by this comparison's doing ({text})") from error
