"""Curves of a comparison for a logger, while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from anyformer.compare.run.scheduler import Scheduler
from anyformer.compare.run.unit import Trained, Unit
from anyformer.compare.run.unit_files import read_progress
from anyformer.train.logs import Log

EVERY_SECONDS = 1.0


@dataclass
class LiveCurves:
    """Curves of the full runs, told to a log about once a second: names are ``CANDIDATE/seed N/train/loss`` and so on.

    Attributes:
        log: takes the step of a run and values by name; steps of different runs come in any order.
    """

    log: Log
    _told: dict[str, int] = field(default_factory=dict)
    _ended: set[Unit] = field(default_factory=set)
    _looked: float = 0.0

    def __call__(self, scheduler: Scheduler) -> None:
        """Tell what is new of the units of a scheduler's present stage."""
        units = [unit for unit in scheduler.units if unit.phase == "train" and unit not in self._ended]
        outcomes = {unit: scheduler.queue.outcome(unit) for unit in units}
        now = time.monotonic()
        for unit in units:
            name = f"{unit.candidate}/seed {unit.seed}"
            name = name if len(scheduler.plan.tasks) == 1 else f"{unit.task}/{name}"
            outcome = outcomes[unit]
            if now - self._looked >= EVERY_SECONDS or outcome is not None:
                self._tell_loss(name, scheduler, unit)
            if outcome is not None:
                self._ended.add(unit)
                trained = outcome.of(Trained)
                if trained is not None and trained.valid is not None:
                    self.log(unit.steps, {f"{name}/valid": trained.valid.score})
        if now - self._looked >= EVERY_SECONDS:
            self._looked = now

    def _tell_loss(self, name: str, scheduler: Scheduler, unit: Unit) -> None:
        progress = read_progress(scheduler.queue.home(unit))
        if progress.loss is not None and progress.step > self._told.get(name, 0):
            self._told[name] = progress.step
            self.log(progress.step, {f"{name}/train/loss": progress.loss})
