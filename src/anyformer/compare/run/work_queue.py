"""The list of work: an Optuna study with one trial for each unit, and a folder for what the unit leaves.

A unit is put in the queue once, under an identity that says all of it. Its trial goes from waiting to running to
complete or failed. Who works on it holds the lock in its folder; since the operating system frees the lock of a
killed process, a running trial whose lock is free is an orphan, and the next worker takes it on from its last
checkpoint. So no unit is lost, and none starts again from nothing.
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


class Damaged(MachineFault):
    """What the comparison keeps its books in is not what it wrote."""


@dataclass
class Claim:
    """A unit that this process works on, until the claim is finished or released."""

    unit: Unit
    folder: Path
    trial: int
    locks: list[FileLock]
    alone: bool = False
    """Whether nothing else of the comparison runs beside it."""

    def release(self) -> None:
        for lock in reversed(self.locks):
            lock.release()

    def give_back(self) -> None:
        """Leaves the unit in the queue, in good order."""
        with suppress(OSError):  # a full disk must not hide why it is given back
            note_left(self.folder)
        self.release()


class WorkQueue:
    """The work of one comparison.

    Args:
        folder: the comparison's folder; units keep checkpoints and results below it.
        url: an Optuna storage; ``study.db`` in the folder where it is None.

    Raises:
        MachineFault: the storage cannot be opened, or is damaged.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.own = url is None
        if url is None:
            url = f"sqlite:///{(folder / STUDY).as_posix()}"
        arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        with self._reaching():
            self.storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
            name = f"anyformer-{_identity(folder)}"
            self.study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True)

    @classmethod
    def opened(cls, folder: Path, url: str | None = None) -> tuple[WorkQueue, str | None]:
        """The queue, for its coordinator, and a remark where its database was damaged and is made anew.

        Nothing is lost with the folder's own database: the units and their outcomes lie in files. The damaged one is
        kept beside it.

        Raises:
            MachineFault: the storage cannot be reached, or one that is not the folder's own is damaged.
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
        """Errors of the storage, whatever their class, as one message."""
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
        """The unit's own folder."""
        return self.folder / "units" / unit.id

    def enqueue(self, units: Iterable[Unit]) -> None:
        """Adds the units that are not there yet, in this order of priority. Only one process may add.

        A unit that the study takes for finished and whose outcome is gone or damaged is added again.
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
        """Takes units that are not wanted out of the queue, with all they have left; one that is worked on stays."""
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
        with self._reaching():
            return self.study.get_trials(deepcopy=False)

    def claim(self) -> Claim | None:
        """A unit to work on, orphans included; None when there is none to be had.

        First come, first served, but units that were in trouble wait for those that were not, and those that may have
        been short of memory run when nothing else does.
        """
        waiting = []
        for trial in self.trials():
            if not trial.state.is_finished():
                home = self.home(unit_of(trial))
                incidents = read_incidents(home)
                waiting.append((len(incidents) + abandoned(home), must_be_alone(incidents), trial))
        calm = any(not alone for _, alone, _ in waiting)
        for _, alone, trial in sorted(waiting, key=lambda entry: entry[:2]):
            if alone and calm:
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
            state = self.storage.get_trial(claim.trial).state  # as it is now that nobody else can change it
            if state.is_finished():
                claim.release()
                return None
            if state == TrialState.WAITING:
                self.storage.set_trial_state_values(claim.trial, TrialState.RUNNING)
        remove_temporary(claim.folder)
        (claim.folder / PROGRESS).unlink(missing_ok=True)
        note_owner(claim.folder)
        return claim

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """Records how the unit ended, first in its folder and then in the study, and gives it up."""
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
        """This very unit, if it is unfinished and nobody works on it."""
        for trial in self.trials():
            if trial.user_attrs["id"] == unit.id and not trial.state.is_finished():
                return self._take(trial)
        return None

    def unfinished(self, units: Iterable[Unit]) -> list[Unit]:
        """Those that have left no whole result yet; looks at files only, so that it can be asked often."""
        return [unit for unit in units if self.outcome(unit) is None]

    def outcome(self, unit: Unit) -> Outcome | None:
        """How the unit ended, or None when it has not."""
        return read_outcome(self.home(unit), unit.phase)

    def drop_spoiled(self, units: Iterable[Unit]) -> list[Path]:
        """Forgets the outcomes of units of which a file is missing or damaged, and returns these files."""
        spoiled = []
        for unit in units:
            outcome = self.outcome(unit)
            path = None if outcome is None else spoiled_file(self.home(unit), outcome)
            if path is not None:
                spoiled.append(path)
                (self.home(unit) / RESULT).unlink()
        return spoiled


def _check_sqlite(path: Path) -> None:
    """Raises Damaged where the file is there and no whole SQLite database; an empty one is whole."""
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
    """The unit of a trial.

    Raises:
        Damaged: the trial holds none, so that the study is not what this library wrote.
    """
    try:
        unit = Unit.model_validate(trial.user_attrs["unit"])
        if trial.user_attrs["id"] != unit.id:
            raise ValueError(f"the unit of {trial.user_attrs['id']!r} is another one")
        return unit
    except (KeyError, ValueError) as error:
        raise Damaged(f"trial {trial.number} of the comparison's study is damaged") from error


def _value(outcome: Outcome) -> float:
    """What the study ranks a finished unit by; the results do not depend on it."""
    score = getattr(outcome.found, "score", None)
    return float(score) if isinstance(score, (int, float)) and math.isfinite(score) else 0.0


def _trial(unit: Unit, outcome: Outcome | None) -> FrozenTrial:
    """A trial that waits for a worker, or one that has ended so."""
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
    """A name for the study that belongs to the folder wherever it is moved or mounted.

    One that is damaged is drawn anew: the study is then made again from the files.
    """
    path = folder / "identity.json"
    held = read_json(path)
    if isinstance(held, dict) and isinstance(held.get("study"), str):
        return str(held["study"])
    stamp = hashlib.sha256(f"{folder.resolve()}{time.time_ns()}{os.getpid()}".encode()).hexdigest()[:12]
    write_atomically(path, json.dumps({"study": stamp}))
    return stamp
