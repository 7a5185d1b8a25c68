"""Runs units on worker processes and survives whatever happens to them.

One process, the *coordinator*, puts units on the board and keeps the workers alive; it alone decides what is run.
Further machines help by :func:`join`: workers on the same storage and folder, which decide nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from anyformer.compare.board import Board, Outcome, Unit
from anyformer.compare.locks import FileLock
from anyformer.compare.results import write_atomically
from anyformer.compare.worker import Lab, work

DEATHS_WITHOUT_PROGRESS = 3
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 20.0
"""How long workers may take to leave a last checkpoint when they are told to stop."""


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    line: Connection


@dataclass
class Pool:
    """Worker processes of this machine; those that die are noticed and replaced.

    Args:
        board: the work.
        lab: how it is done.
        size: number of processes.
        threads: torch threads for each.
    """

    board: Board
    url: str | None
    lab: Lab
    size: int
    threads: int
    _workers: list[_Worker] = field(default_factory=list)
    _stillborn: int = 0

    def tend(self) -> None:
        """Starts missing workers; takes note of those that died."""
        for worker in [w for w in self._workers if not w.process.is_alive()]:
            self._workers.remove(worker)
            worker.line.close()
            self._bury(worker.process)
        while len(self._workers) < self.size:
            self._workers.append(self._start())

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (self.board.folder, self.url, self.lab, self.threads, theirs)
        process = context.Process(target=work, args=arguments, daemon=True)
        with _environment(OMP_NUM_THREADS=str(self.threads)):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _bury(self, process: multiprocessing.process.BaseProcess) -> None:
        """A worker died. Its unit is taken on by the next one, unless it keeps killing its workers."""
        unit = self._owned_by(process.pid)
        if unit is None:
            self._stillborn += 1
            if self._stillborn > 3 * self.size:
                raise RuntimeError(
                    f"worker processes end before they do any work (exit code {process.exitcode}); "
                    'a script that compares must do so under `if __name__ == "__main__":`'
                )

            return
        self._stillborn = 0
        folder = self.board.home(unit)
        deaths = _read_json(folder / "deaths.json", [])
        deaths.append(
            {"code": process.exitcode, "step": _read_json(folder / "progress.json", {}).get("step", 0)}
        )
        write_atomically(folder / "deaths.json", json.dumps(deaths))
        last = deaths[-DEATHS_WITHOUT_PROGRESS:]
        if len(last) < DEATHS_WITHOUT_PROGRESS or len({death["step"] for death in last}) > 1:
            return
        claim = self.board.take(unit)
        if claim is not None:
            self.board.finish(claim, _killed(last))

    def _owned_by(self, pid: int | None) -> Unit | None:
        for trial in self.board.trials():
            if not trial.state.is_finished():
                unit = Unit.model_validate(trial.user_attrs["unit"])
                if self.board.owner(unit) == pid:
                    return unit
        return None

    def stop(self) -> None:
        """Lets the workers leave a checkpoint and end."""
        for worker in self._workers:
            try:
                worker.line.send("stop")
            except OSError:
                pass
        deadline = time.monotonic() + PATIENCE_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.line.close()
        self._workers.clear()


def _killed(deaths: Sequence[dict[str, Any]]) -> Outcome:
    code, step = deaths[-1]["code"], deaths[-1]["step"]
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    reason = f"its process was ended {len(deaths)} times at step {step} ({how})"
    if code == -9:
        return Outcome(
            status="out_of_memory", reason=reason + ", which is what a system short of memory does"
        )
    return Outcome(status="failed", reason=reason)


def run_units(
    board: Board, pool: Pool, units: Sequence[Unit], watch: Callable[[], None] = lambda: None
) -> dict[Unit, Outcome]:
    """Runs all units to their end and returns how each ended. ``watch`` is called while waiting."""
    board.enqueue(units)
    pending = list(units)
    while pending := board.unfinished(pending):
        pool.tend()

        watch()
        time.sleep(POLL_SECONDS)
    watch()
    outcomes = {unit: board.outcome(unit) for unit in units}
    assert all(outcome is not None for outcome in outcomes.values())
    return {unit: outcome for unit, outcome in outcomes.items() if outcome is not None}


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


def join(folder: Path, url: str | None, lab: Lab, *, workers: int, threads: int) -> None:
    """Lends this machine's processes to a comparison that runs elsewhere, until that one ends."""
    board = Board(folder, url)
    pool = Pool(board, url, lab, workers, threads)
    try:
        while not (folder / "results.json").exists():
            pool.tend()
            time.sleep(1.0)
    finally:
        pool.stop()


class Clock:
    """Time spent on a comparison, over all its interruptions; this stretch began at ``start`` (monotonic)."""

    def __init__(self, folder: Path, start: float | None = None) -> None:
        self.path = folder / "clock.json"
        self.before = float(_read_json(self.path, 0.0))
        self.start = time.monotonic() if start is None else start

        self._written = self.start

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def tick(self, *, force: bool = False) -> None:
        """Writes the time down, every now and then."""
        if force or time.monotonic() - self._written > 2.0:
            self._written = time.monotonic()
            write_atomically(self.path, json.dumps(self.seconds))


def _read_json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
