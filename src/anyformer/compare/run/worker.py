"""A worker: a process that takes units from the queue and runs them until it is told to stop."""

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
    """The worker was told to stop; the unit has left a checkpoint and stays in the queue."""


class MemoryContention(Exception):
    """A unit that needs little got no memory; it stays in the queue, to be run with nothing beside it."""


class UnitFailed(Exception):
    """The unit cannot be finished, for a reason that belongs in the report."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Message:
    """What a worker says to its parent: the unit that it takes, that it has none, or why it cannot work."""

    kind: Literal["took", "free", "fault", "refused", "broken"]
    unit: Unit | None = None
    text: str = ""


class Heartbeat:
    """What a running unit tells the outside, and what it hears: progress, and when to checkpoint or stop."""

    def __init__(self, folder: Path, stop: threading.Event | None = None) -> None:
        self.folder = folder
        self._stop = stop or threading.Event()
        self._told = 0.0
        self.checkpoints = CheckpointTimer()
        self._progress = Progress(pid=os.getpid())

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def tell(
        self, *, step: int, steps: int, begun: int = 0, loss: float | None = None, valid: float | None = None
    ) -> None:
        """Leave word of the progress in the unit's folder, a few times a second at most."""
        beats, pid = self._progress.beats, self._progress.pid
        self._progress = Progress(
            step=step, steps=steps, begun=begun, loss=loss, valid=valid, beats=beats, pid=pid
        )
        self.beat()

    def beat(self) -> None:
        """Shows that the unit goes on, at whatever it is; where nothing beats for long, it is taken to hang."""
        self._progress.beats += 1
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            write_progress(self.folder, self._progress)

    def checkpoint_due(self) -> bool:
        return self.stopping or self.checkpoints.due


class Executor(Protocol):
    """What units do. It travels to the workers by pickling."""

    def execute(self, unit: Unit, folder: Path, heartbeat: Heartbeat) -> Found:
        """Runs the unit, from its checkpoint in ``folder`` where there is one.

        Raises:
            UnitFailed: with what belongs in the report.
            Stopped: when ``heartbeat.stopping``, after a checkpoint.
        """


def work(folder: Path, url: str | None, packed: Packed, threads: int, connection: Connection) -> None:
    """The main function of a worker process. ``connection`` closes, or says anything, when it should stop."""
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
    except ValueError as error:  # the executor cannot be had here
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
    """Waits for the parent's word; without a parent the process ends at once, as if it had been killed."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)
    stop.set()


def run_unit(executor: Executor, claim: Claim, stop: threading.Event | None = None) -> Outcome:
    """Runs a claimed unit; every failure of the candidate becomes an outcome, so that the others go on.

    Raises:
        Stopped: as it was told to.
        MemoryContention: it got no memory beside what else ran.
        MachineFault: the machine failed, and not the candidate.
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
    """Raises where memory was refused for what others use; comes back where it is the candidate's doing.

    A unit that needs little is run again with nothing of the comparison beside it. If it fails again, others have
    taken the memory of the machine, or there is enough of it and the candidate makes its own incident.
    """
    text = explain(error)[1]
    if not any(incident.kind == "memory" for incident in read_incidents(claim.folder)):
        raise MemoryContention(text) from error
    if memory_is_short():
        raise MachineFault(f"memory is short, and not by this comparison's doing ({text})") from error
