"""The list of work: an Optuna study with one trial for each unit, and a folder for what the unit leaves.

A unit is put on the board once, under an identity that says all of it. Its trial goes from waiting to running to
complete or failed. Who works on it holds the lock in its folder; since the operating system frees the lock of a
killed process, a running trial whose lock is free is an orphan, and the next worker takes it on from its last
checkpoint. So no unit is lost, and none starts again from nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import BaseModel, ConfigDict

from anyformer.compare.locks import FileLock
from anyformer.compare.results import write_atomically

Phase = Literal["reference", "calibrate", "search", "train", "measure"]
QUIET: tuple[Phase, ...] = ("measure",)
"""Phases whose units run one at a time, with nothing beside them."""
RATES = FloatDistribution(1e-8, 10.0, log=True)
SEEDS = IntDistribution(0, 2**31 - 1)
STEPS = IntDistribution(0, 2**62)


class Unit(BaseModel):
    """One piece of work; two units are the same when all fields are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    phase: Phase
    candidate: str
    steps: int = 0
    learning_rate: float | None = None
    seed: int | None = None

    @property
    def id(self) -> str:
        """The name of its folder: readable, and as unique as the unit."""
        parts = [self.task, self.phase, self.candidate]
        parts += [f"lr{self.learning_rate:g}"] if self.learning_rate is not None else []
        parts += [f"seed{self.seed}"] if self.seed is not None else []
        readable = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts))[:80]
        return f"{readable}-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"


@dataclass
class Claim:
    """A unit that this process works on, until the claim is finished or released."""

    unit: Unit
    folder: Path
    trial: int
    locks: list[FileLock]

    def release(self) -> None:
        for lock in reversed(self.locks):
            lock.release()


class Outcome(BaseModel):
    """How a unit ended. ``status`` is "ok" or one of the failures of a candidate."""

    status: str
    reason: str = ""
    data: dict[str, Any] = {}


class Board:
    """The work of one comparison.

    Args:
        folder: the comparison's folder; units keep checkpoints and results below it.
        url: an Optuna storage; ``study.db`` in the folder where it is None.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if url is None:
            url = f"sqlite:///{(folder / 'study.db').as_posix()}"
        arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        self.storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
        name = f"anyformer-{_identity(folder)}"
        self.study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True)

    def home(self, unit: Unit) -> Path:
        """The unit's own folder."""
        return self.folder / "units" / unit.id

    def enqueue(self, units: Iterable[Unit]) -> None:
        """Adds the units that are not there yet, in this order of priority. Only one process may add."""
        known = {trial.user_attrs["id"] for trial in self.trials()}
        for unit in units:
            if unit.id not in known:
                self.study.add_trial(_waiting(unit))

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def claim(self) -> Claim | None:
        """A unit to work on, first come first served, orphans included; None when there is none to be had."""
        for trial in self.trials():
            if trial.state.is_finished():
                continue
            claim = self._take(trial)
            if claim is not None:
                return claim
        return None

    def _take(self, trial: FrozenTrial) -> Claim | None:
        unit = Unit.model_validate(trial.user_attrs["unit"])
        wanted = [FileLock(self.home(unit) / "lock")]
        wanted += [FileLock(self.folder / "quiet.lock")] if unit.phase in QUIET else []
        claim = Claim(unit, self.home(unit), trial._trial_id, [])
        for lock in wanted:
            if not lock.acquire():
                claim.release()
                return None
            claim.locks.append(lock)
        state = self.storage.get_trial(claim.trial).state  # as it is now that nobody else can change it
        if state.is_finished():
            claim.release()
            return None
        if state == TrialState.WAITING:
            self.storage.set_trial_state_values(claim.trial, TrialState.RUNNING)
        with open(claim.folder / "owners", "a", encoding="utf-8") as owners:
            owners.write(f"{os.getpid()}\n")
        return claim

    def owner(self, unit: Unit) -> int | None:
        """The process that took the unit last."""
        path = self.home(unit) / "owners"
        return int(path.read_text(encoding="utf-8").split()[-1]) if path.exists() else None

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """Records how the unit ended, first in its folder and then in the study, and gives it up."""
        write_atomically(claim.folder / "result.json", outcome.model_dump_json())
        if outcome.status == "ok":
            value = outcome.data.get("score")
            self.storage.set_trial_state_values(claim.trial, TrialState.COMPLETE, [float(value or 0.0)])
        else:
            failure = {"status": outcome.status, "reason": outcome.reason}
            self.storage.set_trial_user_attr(claim.trial, "failure", failure)
            self.storage.set_trial_state_values(claim.trial, TrialState.FAIL)
        claim.release()

    def take(self, unit: Unit) -> Claim | None:
        """This very unit, if it is unfinished and nobody works on it."""
        for trial in self.trials():
            if trial.user_attrs["id"] == unit.id and not trial.state.is_finished():
                return self._take(trial)
        return None

    def unfinished(self, units: Iterable[Unit]) -> list[Unit]:
        """Those that have left no result yet; looks at files only, so that it can be asked often."""
        return [unit for unit in units if not (self.home(unit) / "result.json").exists()]

    def outcome(self, unit: Unit) -> Outcome | None:
        """How the unit ended, or None when it has not."""
        return read_outcome(self.home(unit))


def read_outcome(folder: Path) -> Outcome | None:
    """What a unit left in its folder when it ended, or None."""
    path = folder / "result.json"
    return Outcome.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _waiting(unit: Unit) -> FrozenTrial:
    params: dict[str, Any] = {"steps": unit.steps}
    distributions: dict[str, Any] = {"steps": STEPS}
    if unit.learning_rate is not None:
        params["learning_rate"], distributions["learning_rate"] = unit.learning_rate, RATES
    if unit.seed is not None:
        params["seed"], distributions["seed"] = unit.seed, SEEDS
    facts = {"id": unit.id, "unit": unit.model_dump(), "candidate": unit.candidate, "phase": unit.phase}
    return create_trial(
        state=TrialState.WAITING, params=params, distributions=distributions, user_attrs=facts
    )


def _identity(folder: Path) -> str:
    """A name for the study that belongs to the folder wherever it is moved or mounted."""
    path = folder / "identity.json"
    if not path.exists():
        stamp = hashlib.sha256(f"{folder.resolve()}{time.time_ns()}{os.getpid()}".encode()).hexdigest()[:12]
        write_atomically(path, json.dumps({"study": stamp}))
    return str(json.loads(path.read_text(encoding="utf-8"))["study"])
