"""Runs units on worker processes and survives whatever happens to them.

One process, the *coordinator*, puts units in the queue and keeps the workers alive; it alone decides what is run.
Further machines help by :func:`join`: workers on the same storage and folder, which decide nothing.
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
HANGS = 2
INCIDENTS = 12
"""How often a unit may be killed or hang: in a row without coming farther, by hanging, and in all."""
POLL_SECONDS = 0.1
QUEUE_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
"""How long workers may take to leave a last checkpoint when they are told to stop; those before it are safe anyway."""


@dataclass(frozen=True)
class Limits:
    """When a worker is taken to hang: nothing was heard of its unit for so long.

    Attributes:
        seconds: at least, once it has begun.
        gaps: in lengths of the longest silence that the unit has ended itself, so that slow steps have longer.
        before: the limit before the first sign of life, in which kernels may be compiled.
        silent: the limit of units that give no signs while they work (references).
    """

    seconds: float = 120.0
    gaps: float = 30.0
    before: float = 900.0
    silent: float = 3600.0

    @classmethod
    def within(cls, seconds: float) -> Limits:
        """For a comparison that is to take so long in all."""
        base = min(120.0, max(15.0, seconds / 4))
        return cls(seconds=base, before=max(60.0, min(900.0, 2 * seconds)), silent=max(600.0, 4 * seconds))


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    unit: Unit | None = None
    beats: int = 0
    silence: float = 0.0
    """Seconds without a sign of life while this process was looking; its own pauses don't count."""
    longest: float = 0.0
    looked: float = field(default_factory=time.monotonic)
    hung: str = ""

    def took(self, unit: Unit | None) -> None:
        self.unit, self.beats, self.silence, self.longest = unit, 0, 0.0, 0.0

    def listen(self) -> list[Message]:
        """What it said since it was last asked."""
        words = []
        try:
            while self.connection.poll():
                words.append(self.connection.recv())
        except (EOFError, OSError):
            pass
        return words

    def watch(self, beats: int, limits: Limits) -> None:
        """Kills the process where its unit has not beaten for too long."""
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
    """Worker processes of this machine; those that die or hang are noticed and replaced.

    Args:
        queue: the work.
        executor: how it is done.
        size: number of processes.
        threads: torch threads for each.
        limits: when a worker hangs.
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
        """Starts missing workers; takes note of those that died, and ends those that hang.

        Raises:
            MachineFault: a worker cannot go on, for a reason that will hold for all.
            ValueError: what it should do cannot be sent to it.
        """
        for worker in self._workers:
            self._hear(worker)
            if worker.unit is not None:
                worker.watch(read_progress(self.queue.home(worker.unit)).beats, self.limits)
        for worker in [w for w in self._workers if not w.process.is_alive()]:
            self._hear(worker)  # its last words
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
        """A worker died. Its unit is taken on by another, unless it keeps killing its workers."""
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
        """Lets the workers leave a checkpoint and end; those that take too long are killed."""
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
    """Whether the unit keeps dying or hanging without having come farther."""
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
    """Runs all units to their end and returns how each ended. ``watch`` is called while waiting.

    Raises:
        MachineFault: the machine failed; all units that are not done stay in the queue.
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
        if time.monotonic() - checked > QUEUE_SECONDS:  # what was lost from the queue meanwhile comes back
            checked = time.monotonic()
            queue.enqueue(unit for unit in units if unit not in found)


@contextmanager
def coordinating(folder: Path) -> Iterator[None]:
    """Holds the folder for one coordinator.

    Raises:
        ValueError: when another process is at work in it.
    """
    lock = FileLock(folder / "coordinator.lock")
    if not lock.acquire():
        raise ValueError(f"another process is already at work on the comparison in {str(folder)!r}")
    try:
        yield
    finally:
        lock.release()


def join(folder: Path, url: str | None, executor: Executor, *, workers: int, threads: int) -> None:
    """Lends this machine's processes to a comparison that runs elsewhere, until that one ends."""
    queue = WorkQueue(folder, url)
    pool = Pool(queue, url, executor, workers, threads)
    try:
        while not (folder / "results.json").exists():
            pool.tend()
            time.sleep(1.0)
    finally:
        pool.stop()
