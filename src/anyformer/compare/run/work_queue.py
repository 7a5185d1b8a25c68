"""The work queue: an Optuna study with one trial for each unit, and a folder for the files of each unit.

A unit is put in the queue once, identified by all its fields. Its trial goes from waiting to running to complete or
failed. The worker that runs it holds the lock in its folder. The operating system frees the lock of a killed process,
so that a running trial whose lock is free is an orphan; the next worker continues it from its last checkpoint. So no
unit is lost, and none starts again from nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from anyformer.compare.run.locks import FileLock
from anyformer.compare.run.unit import QUIET, Outcome, Unit
from anyformer.compare.run.unit_files import (
    INCIDENTS,
    PROGRESS,
    RESULT,
    abandoned,
    must_be_alone,
    note_left,
    note_owner,
    read_incidents,
    read_outcome,
    spoiled_file,
    write_outcome,
)
from anyformer.files import read_json, remove_temporary, write_atomically
from anyformer.machine import MachineFault, machine_fault

STUDY = "study.db"
RATES = FloatDistribution(1e-8, 10.0, log=True)
SEEDS = IntDistribution(0, 2**31 - 1)
STEPS = IntDistribution(0, 2**62)


class Unsynced(sqlite3.Connection):
    """A connection that does not wait for the disk.

    What a loss of power damages in the folder's database is made anew from the files of the units, which are synced.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.execute("PRAGMA synchronous = OFF")


class Damaged(MachineFault):
    """The database of the work queue is damaged."""


@dataclass
class Claim:
    """A unit on which this process works, until the claim is finished or released."""

    unit: Unit
    folder: Path
    trial: int
    locks: list[FileLock]
    alone: bool = False
    """True if no other unit of the comparison may run at the same time."""

    def release(self) -> None:
        """Release the locks."""
        for lock in reversed(self.locks):
            lock.release()

    def give_back(self) -> None:
        """Give the unit back to the queue, in good order."""
        with suppress(OSError):  # a full disk must not hide the error for which it is given back
            note_left(self.folder)
        self.release()


class WorkQueue:
    """The work queue of one comparison.

    Args:
        folder: the comparison's folder; units keep checkpoints and results below it.
        url: an Optuna storage; None for ``study.db`` in the folder.

    Raises:
        MachineFault: if the storage cannot be opened, or is damaged.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.own = url is None
        if url is None:
            url = f"sqlite:///{(folder / STUDY).as_posix()}"
        connection: dict[str, Any] = {"timeout": 60, **({"factory": Unsynced} if self.own else {})}
        arguments = {"connect_args": connection} if url.startswith("sqlite") else {}
        with self._reaching():
            self.storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
            name = f"anyformer-{_identity(folder)}"
            self.study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True)

    @classmethod
    def opened(cls, folder: Path, url: str | None = None) -> tuple[WorkQueue, str | None]:
        """Open the queue for its coordinator; returns it, and a remark if its database was damaged and made anew.

        Nothing is lost with a database in the folder, because the outcomes of units are files. The damaged one is kept
        under another name.

        Raises:
            MachineFault: if the storage cannot be reached, or is damaged and not in the folder.
        """
        if url is not None:
            return cls(folder, url), None
        try:
            _check_sqlite(folder / STUDY)
            queue = cls(folder)
            for trial in queue.trials():
                unit_of(trial)
            return queue, None
        except Damaged:
            pass
        aside = folder / f"{STUDY}.damaged"
        os.replace(folder / STUDY, aside)
        for rest in ("-journal", "-wal", "-shm"):
            (folder / f"{STUDY}{rest}").unlink(missing_ok=True)
        remark = f"{folder / STUDY} was damaged: it is made anew from the files of the units, and kept as {aside.name}"
        return cls(folder), remark

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn errors of the storage, of whatever class, into a ``MachineFault``."""
        try:
            yield
        except MachineFault:
            raise
        except Exception as error:
            fault = machine_fault(error, self.folder)
            where = f"the comparison's database {self.folder / STUDY}" if self.own else "storage"
            if fault is not None:
                raise MachineFault(f"{where}: {fault}") from error
            text = str(getattr(error, "orig", None) or error.__cause__ or error)
            reason = " ".join(text.split())[:200]
            if self.own:
                raise Damaged(f"{where} is damaged ({reason}); delete it: it is made anew") from error
            raise MachineFault(f"storage cannot be used: {reason}") from error

    def home(self, unit: Unit) -> Path:
        """Return the folder of a unit."""
        return self.folder / "units" / unit.id

    def enqueue(self, units: Iterable[Unit]) -> None:
        """Add the units that are not in the queue yet, in order of priority. Only one process may add.

        A unit that is finished in the study is added again if its outcome is missing or damaged.
        """
        trials = self.trials()
        unfinished = {trial.user_attrs["id"] for trial in trials if not trial.state.is_finished()}
        finished = {trial.user_attrs["id"] for trial in trials if trial.state.is_finished()}
        for unit in units:
            if unit.id in unfinished:
                continue
            outcome = self.outcome(unit)
            if outcome is None or unit.id not in finished:
                with self._reaching():
                    self.study.add_trial(_trial(unit, outcome))

    def drop(self, wanted: Callable[[Unit], bool]) -> None:
        """Remove units that are not wanted, with their files; a unit that a worker runs stays."""
        for trial in self.trials():
            unit = unit_of(trial)
            if wanted(unit):
                continue
            if not trial.state.is_finished():
                claim = self._take(trial)
                if claim is None:
                    continue
                with self._reaching():
                    self.storage.set_trial_state_values(claim.trial, TrialState.FAIL)
                claim.release()
            shutil.rmtree(self.home(unit), ignore_errors=True)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of the study."""
        with self._reaching():
            return self.study.get_trials(deepcopy=False)

    def claim(self) -> Claim | None:
        """Claim the next unit, orphans included; None if there is none.

        Units come in the order in which they were added, but those with incidents after those without, and those that
        may have been short of memory only when no others wait.
        """
        waiting = []
        for trial in self.trials():
            if not trial.state.is_finished():
                home = self.home(unit_of(trial))
                incidents = read_incidents(home)
                waiting.append((len(incidents) + abandoned(home), must_be_alone(incidents), trial))
        others = any(not alone for _, alone, _ in waiting)
        for _, alone, trial in sorted(waiting, key=lambda entry: entry[:2]):
            if alone and others:
                continue
            claim = self._take(trial, alone=alone)
            if claim is not None:
                return claim
        return None

    def _take(self, trial: FrozenTrial, *, alone: bool = False) -> Claim | None:
        unit = unit_of(trial)
        wanted = [FileLock(self.home(unit) / "lock")]
        wanted += [FileLock(self.folder / "quiet.lock")] if alone or unit.phase in QUIET else []
        claim = Claim(unit, self.home(unit), trial._trial_id, [], alone)
        for lock in wanted:
            if not lock.acquire():
                claim.release()
                return None
            claim.locks.append(lock)
        with self._reaching():
            state = self.storage.get_trial(claim.trial).state  # read under the lock
            if state.is_finished():
                claim.release()
                return None
            if state == TrialState.WAITING:
                self.storage.set_trial_state_values(claim.trial, TrialState.RUNNING)
        remove_temporary(
            claim.folder, keep=INCIDENTS
        )  # the coordinator may be writing them, without the lock
        (claim.folder / PROGRESS).unlink(missing_ok=True)
        note_owner(claim.folder)
        return claim

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """Record the outcome of a unit, first in its folder and then in the study, and release it."""
        write_outcome(claim.folder, outcome)
        with self._reaching():
            if outcome.status == "ok":
                self.storage.set_trial_state_values(claim.trial, TrialState.COMPLETE, [_value(outcome)])
            else:
                failure = {"status": outcome.status, "reason": outcome.reason}
                self.storage.set_trial_user_attr(claim.trial, "failure", failure)
                self.storage.set_trial_state_values(claim.trial, TrialState.FAIL)
        claim.give_back()

    def take(self, unit: Unit) -> Claim | None:
        """Claim a given unit; None if it is finished or a worker runs it."""
        for trial in self.trials():
            if trial.user_attrs["id"] == unit.id and not trial.state.is_finished():
                return self._take(trial)
        return None

    def unfinished(self, units: Iterable[Unit]) -> list[Unit]:
        """Return the units without an outcome. It reads files only, and so is cheap."""
        return [unit for unit in units if self.outcome(unit) is None]

    def outcome(self, unit: Unit) -> Outcome | None:
        """Return the outcome of a unit, or None if it has not ended."""
        return read_outcome(self.home(unit), unit.phase)

    def drop_spoiled(self, units: Iterable[Unit]) -> list[Path]:
        """Delete the outcomes of units of which a file is missing or damaged; returns these files."""
        spoiled = []
        for unit in units:
            outcome = self.outcome(unit)
            path = None if outcome is None else spoiled_file(self.home(unit), outcome)
            if path is not None:
                spoiled.append(path)
                (self.home(unit) / RESULT).unlink()
        return spoiled


def _check_sqlite(path: Path) -> None:
    """Check an SQLite database; a missing or empty file is sound.

    Raises:
        Damaged: if it is damaged.
        MachineFault: if it cannot be read.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=60)) as database:
            found = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        fault = machine_fault(error)
        if fault is not None:
            raise MachineFault(f"the comparison's database {path}: {fault}") from error
        raise Damaged(f"{path}: {error}") from error
    if found != ("ok",):
        raise Damaged(f"{path}: {found}")


def unit_of(trial: FrozenTrial) -> Unit:
    """Return the unit of a trial.

    Raises:
        Damaged: if the trial has none that this library wrote.
    """
    try:
        unit = Unit.model_validate(trial.user_attrs["unit"])
        if trial.user_attrs["id"] != unit.id:
            raise ValueError(f"the unit of {trial.user_attrs['id']!r} is another one")
        return unit
    except (KeyError, ValueError) as error:
        raise Damaged(f"trial {trial.number} of the comparison's study is damaged") from error


def _value(outcome: Outcome) -> float:
    """Return the value of a finished unit in the Optuna study; the results do not depend on it."""
    score = getattr(outcome.found, "score", None)
    return float(score) if isinstance(score, (int, float)) and math.isfinite(score) else 0.0


def _trial(unit: Unit, outcome: Outcome | None) -> FrozenTrial:
    """Make the trial of a unit: waiting, or ended with an outcome."""
    params: dict[str, Any] = {"steps": unit.steps}
    distributions: dict[str, Any] = {"steps": STEPS}
    if unit.learning_rate is not None:
        params["learning_rate"], distributions["learning_rate"] = unit.learning_rate, RATES
    if unit.seed is not None:
        params["seed"], distributions["seed"] = unit.seed, SEEDS
    facts = {"id": unit.id, "unit": unit.model_dump(), "candidate": unit.candidate, "phase": unit.phase}
    state = TrialState.WAITING
    if outcome is not None:
        state = TrialState.COMPLETE if outcome.status == "ok" else TrialState.FAIL
    value = _value(outcome) if outcome is not None and state == TrialState.COMPLETE else None
    return create_trial(
        state=state, value=value, params=params, distributions=distributions, user_attrs=facts
    )


def _identity(folder: Path) -> str:
    """Return the name of the folder's study, which stays the same wherever the folder is moved or mounted.

    If its file is damaged, a new name is drawn, and the study is made again from the files of the units.
    """
    path = folder / "identity.json"
    held = read_json(path)
    if isinstance(held, dict) and isinstance(held.get("study"), str):
        return str(held["study"])
    stamp = hashlib.sha256(f"{folder.resolve()}{time.time_ns()}{os.getpid()}".encode()).hexdigest()[:12]
    write_atomically(path, json.dumps({"study": stamp}))
    return stamp
