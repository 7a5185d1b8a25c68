"""The stages of a comparison: calibrate, search, train, measure; every decision goes into the plan first.

All tasks pass a stage together, so that no worker waits for one of them. Stages are sets of units: going through
them again after an interruption finds what is done, and does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyformer.compare.board import Board, Phase, Unit
from anyformer.compare.plan import Budget, Calibration, Plan, TaskPlan, decide_final, decide_search, keep_best
from anyformer.compare.remains import Outcome
from anyformer.compare.results import SearchRun, Status
from anyformer.compare.run import Clock, Limits, Pool, run_units
from anyformer.compare.worker import Lab

Failure = tuple[Status, str]


@dataclass
class Findings:
    """The outcomes of one task's units, by candidate."""

    references: dict[str, Outcome] = field(default_factory=dict)
    reference_folders: dict[str, Path] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    search: dict[str, list[SearchRun]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    runs: dict[str, dict[int, Outcome]] = field(default_factory=dict)
    folders: dict[str, dict[int, Path]] = field(default_factory=dict)
    costs: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)


@dataclass
class Conductor:
    """Runs a plan to its end, from wherever it stands. Its caller holds the folder (:func:`coordinating`)."""

    plan: Plan
    folder: Path
    lab: Lab
    references: Mapping[str, Sequence[str]]
    storage: str | None = None
    """The storage's URL in full; the plan has it without its secrets."""
    watch: Callable[[Conductor], None] = lambda conductor: None
    start: float = field(default_factory=time.monotonic)
    stage: str = "starting"
    units: list[Unit] = field(default_factory=list)
    worked: bool = False
    """Whether anything had to be run."""
    remarks: list[str] = field(default_factory=list)
    """What was found damaged and mended."""

    def __post_init__(self) -> None:
        self.budget = Budget.parse(self.plan.budget)
        self.found = {task.name: Findings() for task in self.plan.tasks}

    def run(self) -> dict[str, Findings]:
        """All stages; raises KeyboardInterrupt with everything in a state to be resumed."""
        plan = self.plan
        self.clock = Clock(self.folder, self.start)
        self.board, remark = Board.mended(self.folder, self.storage)
        self.remarks = [remark] if remark else []
        if self.clock.damaged:
            self.remarks.append(f"{self.clock.path} was damaged: the time spent before is not counted")
        current = {task.name: task.data.id for task in plan.tasks}
        self.board.drop(lambda unit: current.get(unit.task) == unit.data)
        self.pool = Pool(self.board, self.storage, self.lab, plan.workers, plan.threads, self._limits())
        try:
            self.calibrate()
            decide_search(plan, self.budget, self._calibrations(), self.clock.seconds)
            plan.save(self.folder)
            self.search()
            decide_final(plan, self.budget, self._calibrations(), self.clock.seconds)
            plan.save(self.folder)
            self.train()
            self.measure()
        finally:
            self.pool.stop()
            if self.worked:
                with suppress(OSError):  # a full disk must not hide what happened
                    self.clock.tick(force=True)
        return self.found

    @property
    def seconds(self) -> float:
        """Time spent on the comparison; going through one that is done takes none."""
        return self.clock.seconds if self.worked else self.clock.before

    def _limits(self) -> Limits:
        return Limits.within(self.budget.amount) if self.budget.kind == "seconds" else Limits()

    def _unit(self, task: str, phase: Phase, candidate: str, **fields: Any) -> Unit:
        data = self.plan.task(task).data.id
        return Unit(task=task, phase=phase, candidate=candidate, data=data, **fields)

    def _calibrations(self) -> dict[str, dict[str, Calibration]]:
        return {
            name: {c: calibration for c, calibration in found.calibrations.items() if c not in found.failures}
            for name, found in self.found.items()
        }

    def _alive(self, task: TaskPlan) -> list[str]:
        return [c.name for c in task.buildable if c.name not in self.found[task.name].failures]

    def _run(self, stage: str, units: Sequence[Unit]) -> dict[Unit, Outcome]:
        """One stage, the longest units first, so that no worker is left alone with a long one."""
        self.stage, self.units = stage, sorted(units, key=self.seconds_of, reverse=True)

        self.remarks += [
            f"{path} was damaged: that run is done anew" for path in self.board.drop_spoiled(units)
        ]
        self.worked |= bool(self.board.unfinished(units))

        def watch() -> None:
            if self.worked:
                self.clock.tick()
            self.watch(self)

        return run_units(self.board, self.pool, self.units, watch)

    def seconds_of(self, unit: Unit) -> float:
        """About how long the unit takes, as far as is known."""
        calibration = self.found[unit.task].calibrations.get(unit.candidate)
        return (unit.steps or 1) * (calibration.step_seconds if calibration else 1.0)

    def calibrate(self) -> None:
        units = []
        for task in self.plan.tasks:
            units += [self._unit(task.name, "calibrate", name) for name in self._alive(task)]
        for name, references in self.references.items():
            units += [self._unit(name, "reference", r) for r in references]
        for unit, outcome in self._run("calibrating", units).items():
            found = self.found[unit.task]
            if unit.phase == "reference":
                found.references[unit.candidate] = outcome
                found.reference_folders[unit.candidate] = self.board.home(unit)
            elif self._passed(unit, outcome):
                found.calibrations[unit.candidate] = Calibration.model_validate(outcome.data)

    def _passed(self, unit: Unit, outcome: Outcome) -> bool:
        if outcome.status != "ok":
            reason = outcome.reason if unit.seed is None else f"{outcome.reason} (seed {unit.seed})"
            status: Status = outcome.status  # type: ignore[assignment]
            self.found[unit.task].failures.setdefault(unit.candidate, (status, reason))
        return outcome.status == "ok"

    def search(self) -> None:
        """Two rounds; a learning rate that diverges is out, a candidate all of whose rates do has failed."""
        rates: dict[tuple[str, str], Sequence[float]] = {}
        for task in self.plan.tasks:
            rates.update({(task.name, name): task.learning_rates for name in self._alive(task)})
        for number in (0, 1):
            losses = self._round(number, rates)
            rates = {}
            for (task_name, candidate), by_rate in losses.items():
                found = self.found[task_name]
                kept = keep_best(by_rate, kept=1 if number else 2)
                if kept:
                    rates[task_name, candidate] = kept
                    found.rates[candidate] = kept[0]
                elif number == 0:
                    found.failures.setdefault(candidate, self._why[task_name, candidate])
                else:  # the longer runs all diverged: the gentlest of the rates that survived the first round
                    survivors = [r.learning_rate for r in found.search[candidate] if r.loss is not None]
                    found.rates[candidate] = min(survivors)

    def _round(
        self, number: int, rates: Mapping[tuple[str, str], Sequence[float]]
    ) -> dict[tuple[str, str], dict[float, float | None]]:
        units = []
        for (task_name, candidate), grid in rates.items():
            rounds = self.plan.task(task_name).rounds
            assert rounds is not None
            units += [
                self._unit(
                    task_name,
                    "search",
                    candidate,
                    steps=rounds.steps[number],
                    learning_rate=rate,
                    seed=self.plan.seeds[0],
                )
                for rate in grid
            ]
        outcomes = self._run(f"searching learning rates, round {number + 1} of 2", units)
        losses: dict[tuple[str, str], dict[float, float | None]] = {}
        self._why: dict[tuple[str, str], Failure] = {}
        for unit in units:
            outcome, key = outcomes[unit], (unit.task, unit.candidate)
            assert unit.learning_rate is not None
            loss = outcome.data.get("loss") if outcome.status == "ok" else None
            losses.setdefault(key, {})[unit.learning_rate] = loss
            self.found[unit.task].search.setdefault(unit.candidate, []).append(
                SearchRun(learning_rate=unit.learning_rate, steps=unit.steps, loss=loss)
            )
            if outcome.status != "ok":
                self._why[key] = (outcome.status, f"{outcome.reason}; so it went with every learning rate")  # type: ignore[assignment]
            else:
                self._refine(unit, outcome)
        return losses

    def _refine(self, unit: Unit, outcome: Outcome) -> None:
        """Search runs tell step times better than the calibration, whose steps were few."""
        calibrations = self.found[unit.task].calibrations
        seconds = outcome.data["step_seconds"]
        if seconds > 0:
            calibrations[unit.candidate] = calibrations[unit.candidate].model_copy(
                update={"step_seconds": seconds}
            )

    def train(self) -> None:
        units = []
        for task in self.plan.tasks:
            for name in self._alive(task):
                assert task.final is not None
                rate = self.found[task.name].rates[name]
                units += [
                    self._unit(
                        task.name,
                        "train",
                        name,
                        steps=task.final.steps,
                        learning_rate=rate,
                        seed=seed,
                    )
                    for seed in self.plan.seeds
                ]
        outcomes = self._run("training", units)
        for unit in units:
            if self._passed(unit, outcomes[unit]):
                found = self.found[unit.task]
                assert unit.seed is not None
                found.runs.setdefault(unit.candidate, {})[unit.seed] = outcomes[unit]
                found.folders.setdefault(unit.candidate, {})[unit.seed] = self.board.home(unit)

    def measure(self) -> None:
        units = [
            self._unit(task.name, "measure", name) for task in self.plan.tasks for name in self._alive(task)
        ]
        for unit, outcome in self._run("measuring costs", units).items():
            self.found[unit.task].costs[unit.candidate] = outcome
