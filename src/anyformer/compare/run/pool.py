"""The pool of worker processes, which replaces workers that die or hang.

One process, the *coordinator*, puts units in the queue and keeps the workers alive; it alone decides what is run.
Other machines help by :func:`join`, with workers on the same storage and folder that decide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path

from anyformer.compare.run.locks import FileLock
from anyformer.compare.run.spawn import Packed, start
from anyformer.compare.run.unit import Outcome, Unit
from anyformer.compare.run.unit_files import (
    Incident,
    add_incident,
    read_progress,
    without_progress,
)
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.compare.run.worker import Executor, Message, work
from anyformer.machine import MachineFault
from anyformer.processes import environment

INCIDENTS_WITHOUT_PROGRESS = 3
"""Incidents in a row without further progress after which a unit is given up."""
HANGS = 2
"""Hangs among those after which a unit is given up."""
INCIDENTS = 12
"""Incidents in all after which a unit is given up."""
POLL_SECONDS = 0.1
QUEUE_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
"""Time that workers have for a last checkpoint when they are told to stop; earlier checkpoints are safe in any case."""


@dataclass(frozen=True)
class Limits:
    """Longest time without a sign of life from a unit; after it, its worker counts as hung.

    Attributes:
        seconds: least limit after the first sign of life.
        gaps: limit in multiples of the unit's longest silence so far, so that slow steps have longer.
        before: limit before the first sign of life, because kernels may be compiled then.
        silent: limit for units that give few signs of life (references).
    """

    seconds: float = 120.0
    gaps: float = 30.0
    before: float = 900.0
    silent: float = 3600.0

    @classmethod
    def within(cls, seconds: float) -> Limits:
        """Return the limits for a comparison that takes about so many seconds in all."""
        base = min(120.0, max(15.0, seconds / 4))
        return cls(seconds=base, before=max(60.0, min(900.0, 2 * seconds)), silent=max(600.0, 4 * seconds))


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    unit: Unit | None = None
    beats: int = 0
    silence: float = 0.0
    """Seconds without a sign of life. Pauses of this process, such as a suspended machine, do not count."""
    longest: float = 0.0
    looked: float = field(default_factory=time.monotonic)
    hung: str = ""

    def took(self, unit: Unit | None) -> None:
        """Note the unit on which the worker begins, or None if it waits."""
        self.unit, self.beats, self.silence, self.longest = unit, 0, 0.0, 0.0

    def listen(self) -> list[Message]:
        """Return the messages that have come from the worker since the last call."""
        words = []
        try:
            while self.connection.poll():
                words.append(self.connection.recv())
        except (EOFError, OSError):
            pass
        return words

    def watch(self, beats: int, limits: Limits) -> None:
        """Kill the process if its unit has given no sign of life for too long."""
        now = time.monotonic()
        passed, self.looked = min(1.0, now - self.looked), now
        if self.unit is None:
            return
        self.silence += passed
        if beats != self.beats:
            self.longest = max(self.longest, self.silence if self.beats else 0.0)
            self.beats, self.silence = beats, 0.0
        limit = max(limits.seconds, limits.gaps * self.longest)
        if not self.beats:
            limit = limits.silent if self.unit.phase == "reference" else limits.before
        if self.silence > limit:
            self.hung = f"nothing happened in {limit:.0f} s"
            if self.longest:
                self.hung += f", where it had never taken more than {self.longest:.1f} s before"
            self.process.kill()
            self.process.join()


@dataclass
class Pool:
    """Worker processes of this machine; those that die or hang are replaced.

    Args:
        queue: the work queue.
        url: the queue's storage; None for the database in the folder.
        executor: runs units in the workers.
        size: number of processes.
        threads: torch threads of each.
        limits: longest times without a sign of life.
    """

    queue: WorkQueue
    url: str | None
    executor: Executor
    size: int
    threads: int
    limits: Limits = field(default_factory=Limits)
    _workers: list[_Worker] = field(default_factory=list)
    _stillborn: int = 0

    @cached_property
    def _packed(self) -> Packed:
        return Packed.of(self.executor)

    def tend(self) -> None:
        """Handle messages, dead and hung workers, and start missing ones.

        Raises:
            MachineFault: if a worker stopped for a reason that affects all workers.
            ValueError: if the executor cannot be pickled to the workers.
        """
        for worker in self._workers:
            self._hear(worker)
            if worker.unit is not None:
                worker.watch(read_progress(self.queue.home(worker.unit)).beats, self.limits)
        for worker in [w for w in self._workers if not w.process.is_alive()]:
            self._hear(worker)  # its last messages
            self._workers.remove(worker)
            worker.connection.close()
            self._bury(worker)
        while len(self._workers) < self.size:
            self._workers.append(self._start())

    def _hear(self, worker: _Worker) -> None:
        for word in worker.listen():
            if word.kind == "took":
                self._stillborn = 0
                worker.took(word.unit)
            elif word.kind == "free":
                worker.took(None)
            elif word.kind == "fault":
                raise MachineFault(word.text)
            elif word.kind == "refused":
                raise ValueError(word.text)
            else:
                raise RuntimeError(f"a worker process failed:\n{word.text}")

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        arguments = (self.queue.folder, self.url, self._packed, self.threads, theirs)
        with environment(OMP_NUM_THREADS=str(self.threads)):
            process = start(work, arguments)
        theirs.close()
        return _Worker(process, ours)

    def _bury(self, worker: _Worker) -> None:
        """Note the incident of a dead worker; give its unit up if it keeps killing workers, else leave it queued."""
        unit, code = worker.unit, worker.process.exitcode
        if unit is None:
            self._stillborn += 1
            if self._stillborn > 3 * self.size:
                raise RuntimeError(f"worker processes end before they do any work (exit code {code})")
            return
        folder = self.queue.home(unit)
        how = worker.hung or (f"signal {-code}" if code is not None and code < 0 else f"exit code {code}")
        step = read_progress(folder).step
        incidents = add_incident(
            folder, Incident(kind="hung" if worker.hung else "killed", step=step, what=how)
        )
        if len(incidents) < INCIDENTS and not _is_stuck(incidents):
            return
        claim = self.queue.take(unit)
        if claim is not None:
            self.queue.finish(claim, _given_up(incidents))

    def stop(self) -> None:
        """Tell the workers to write a checkpoint and end; kill those that take too long."""
        for worker in self._workers:
            try:
                worker.connection.send("stop")
            except OSError:
                pass
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.join()
                worker.connection.close()
            self._workers.clear()


def _is_stuck(incidents: Sequence[Incident]) -> bool:
    """Return True if a unit keeps dying or hanging without further progress."""
    last = without_progress(list(incidents))
    return len(last) >= INCIDENTS_WITHOUT_PROGRESS or sum(t.kind == "hung" for t in last) >= HANGS


def _given_up(incidents: Sequence[Incident]) -> Outcome:
    last = incidents[-1]
    if last.kind == "hung":
        count = sum(t.kind == "hung" for t in incidents)
        return Outcome(
            status="failed", reason=f"it hung {count} times, the last at step {last.step}: {last.what}"
        )
    steps = sorted({incident.step for incident in incidents})
    where = f"at step {steps[0]}" if len(steps) == 1 else f"at steps {steps[0]} to {steps[-1]}"
    reason = f"its process was ended {len(incidents)} times {where} ({last.what})"
    if last.what == "signal 9":
        return Outcome(
            status="out_of_memory", reason=f"{reason}, which is what a system short of memory does"
        )
    return Outcome(status="failed", reason=reason)


def run_units(
    queue: WorkQueue, pool: Pool, units: Sequence[Unit], watch: Callable[[], None] = lambda: None
) -> dict[Unit, Outcome]:
    """Run all units to their end; returns the outcome of each. ``watch`` is called while waiting.

    Raises:
        MachineFault: if the machine failed; unfinished units stay in the queue.
    """
    queue.enqueue(units)
    found: dict[Unit, Outcome] = {}
    checked = time.monotonic()
    while True:
        for unit in units:
            outcome = None if unit in found else queue.outcome(unit)
            if outcome is not None:
                found[unit] = outcome
        watch()
        if len(found) == len(set(units)):
            return {unit: found[unit] for unit in units}
        pool.tend()
        time.sleep(POLL_SECONDS)
        if time.monotonic() - checked > QUEUE_SECONDS:  # units that were lost from the queue are added again
            checked = time.monotonic()
            queue.enqueue(unit for unit in units if unit not in found)


@contextmanager
def coordinating(folder: Path) -> Iterator[None]:
    """Hold the lock by which a folder has only one coordinator.

    Raises:
        ValueError: if another process holds it.
    """
    lock = FileLock(folder / "coordinator.lock")
    if not lock.acquire():
        raise ValueError(f"another process is already at work on the comparison in {str(folder)!r}")
    try:
        yield
    finally:
        lock.release()


def join(folder: Path, url: str | None, executor: Executor, *, workers: int, threads: int) -> None:
    """Run workers on this machine for a comparison that another one coordinates, until that ends."""
    queue = WorkQueue(folder, url)
    pool = Pool(queue, url, executor, workers, threads)
    try:
        while not (folder / "results.json").exists():
            pool.tend()
            time.sleep(1.0)
    finally:
        pool.stop()
