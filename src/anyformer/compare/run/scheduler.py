"""The stages of a comparison: calibrate, search, train, score, measure. Every decision is written to the plan first.

All tasks go through a stage together, so that no worker is idle while one of them is behind. A stage is a set of
units: after an interruption, it is run again with those units that have no outcome yet.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from anyformer.compare.plan import learning_rate_search as ladder
from anyformer.compare.plan.allocation import (
    check_fits,
    decide_final,
    decide_leg,
    decide_measuring,
    decide_search,
    is_late,
    is_trained,
)
from anyformer.compare.plan.clock import Clock
from anyformer.compare.plan.equal_time import decide_strides, of_planned_steps
from anyformer.compare.plan.schema import Calibration, Leg, Plan, TaskPlan, Trials
from anyformer.compare.results import EarlyStop
from anyformer.compare.run.machine import describe_disturbance, system_load
from anyformer.compare.run.outcomes import TaskOutcomes
from anyformer.compare.run.pool import Limits, Pool, run_units
from anyformer.compare.run.unit import Outcome, Phase, Scored, Searched, Trained, Unit
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.compare.run.worker import Executor
from anyformer.train.schedule import top

Stopping = Callable[[Leg, Mapping[str, Sequence[Trained]], Mapping[str, float | None]], dict[str, EarlyStop]]
"""Finds the candidates that can no longer win, from a leg, its runs and the untrained scores, by candidate."""
Round = Literal["short", "long"]


@dataclass
class Scheduler:
    """Runs a plan to its end, after an interruption too. The caller holds the folder's lock (:func:`coordinating`)."""

    plan: Plan
    folder: Path
    executor: Executor
    references: Mapping[str, Sequence[str]]
    stopping: Mapping[str, Stopping]
    """By task."""
    storage: str | None = None
    """Full URL of the storage; the plan has it without its secrets."""
    watch: Callable[[Scheduler], None] = lambda scheduler: None
    start: float = field(default_factory=time.monotonic)
    stage: str = "starting"
    units: list[Unit] = field(default_factory=list)
    worked: bool = False
    """True if anything had to be run."""
    remarks: list[str] = field(default_factory=list)
    """Sentences about damaged files that were made again."""
    _load: float = 0.0
    _searched: dict[Unit, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found = {task.name: TaskOutcomes() for task in self.plan.tasks}

    def run(self) -> dict[str, TaskOutcomes]:
        """Run all stages; returns the outcomes by task. After any exception the comparison can be resumed."""
        plan = self.plan
        self.clock = Clock(self.folder, self.start)
        self.queue, remark = WorkQueue.opened(self.folder, self.storage)
        self.remarks = [remark] if remark else []
        if self.clock.damaged:
            self.remarks.append(f"{self.clock.path} was damaged: the time spent before is not counted")
        current = {task.name: task.data.id for task in plan.tasks}
        self.queue.drop(lambda unit: current.get(unit.task) == unit.data)
        self.pool = Pool(self.queue, self.storage, self.executor, plan.workers, plan.threads, self._limits())
        try:
            self.calibrate()
            self._decide_strides()
            check_fits(plan, self._speeds(), self.clock.seconds)
            decide_search(plan, self._speeds(), self.clock.seconds)
            plan.save(self.folder)
            self.search()
            self._decide_strides()
            self.train()
            decide_final(plan, self._speeds(), self.clock.seconds)
            plan.save(self.folder)
            self.score()
            decide_measuring(plan, self._speeds(), self.clock.seconds)
            self._note_disturbance()
            plan.save(self.folder)
            self.measure()
        finally:
            self._stop()
        return self.found

    def _stop(self) -> None:
        self.pool.stop()
        if self.worked:
            with suppress(OSError):  # a full disk must not hide the error that is being raised
                self.clock.tick(force=True)

    def refit(self) -> dict[str, tuple[Outcome, Path]]:
        """Train the winners of the plan on all data; returns outcomes and folders by task."""
        units = {
            task.name: self._unit(task.name, "refit", **task.refit.model_dump(exclude={"problem"}))
            for task in self.plan.tasks
            if task.refit is not None and not task.refit.problem
        }
        self.pool.size = min(self.plan.workers, len(units))
        try:
            outcomes = self._run("training the winner on all data", list(units.values())) if units else {}
        finally:
            self._stop()
        return {name: (outcomes[unit], self.queue.home(unit)) for name, unit in units.items()}

    @property
    def seconds(self) -> float:
        """Seconds spent on the comparison; those of a run in which nothing had to be done do not count."""
        return self.clock.seconds if self.worked else self.clock.before

    def _limits(self) -> Limits:
        budget = self.plan.granted
        return Limits.within(budget.amount) if budget.kind == "seconds" else Limits()

    def _unit(self, task: str, phase: Phase, candidate: str, **fields: Any) -> Unit:
        data = self.plan.task(task).data.id
        return Unit(task=task, phase=phase, candidate=candidate, data=data, **fields)

    def _speeds(self) -> dict[str, dict[str, Calibration]]:
        """Return the speeds by task and candidate, with the time of a step of the plan."""
        return {task.name: of_planned_steps(task, self._measured(task)) for task in self.plan.tasks}

    def _measured(self, task: TaskPlan, *, fastest: bool = False) -> dict[str, Calibration]:
        return self.found[task.name].speeds(self._alive(task), fastest=fastest)

    def _decide_strides(self) -> None:
        fastest = {task.name: self._measured(task, fastest=True) for task in self.plan.tasks}
        decide_strides(self.plan, fastest, self.clock.seconds)

    def _alive(self, task: TaskPlan) -> list[str]:
        return [c.name for c in task.buildable if c.name not in self.found[task.name].failures]

    def _run(self, stage: str, units: Sequence[Unit]) -> dict[Unit, Outcome]:
        """Run the units of one stage, the longest first, so that no worker is left alone with a long one."""
        self.stage, self.units = stage, sorted(units, key=self.seconds_of, reverse=True)
        self.remarks += [
            f"{path} was damaged: that run is done anew" for path in self.queue.drop_spoiled(units)
        ]
        self.worked |= bool(self.queue.unfinished(units))

        def watch() -> None:
            if self.worked:
                self.clock.tick()
                self._load = max(self._load, system_load())
            self.watch(self)

        return run_units(self.queue, self.pool, self.units, watch)

    def seconds_of(self, unit: Unit) -> float:
        """Estimate the seconds that a unit takes, for sorting."""
        calibration = self.found[unit.task].calibrations.get(unit.candidate)
        return (unit.steps or 1) * (calibration.step_seconds if calibration else 1.0)

    def calibrate(self) -> None:
        """Measure the speed of every candidate, and fit the references."""
        units = []
        for task in self.plan.tasks:
            units += [self._unit(task.name, "calibrate", name) for name in self._alive(task)]
        for name, references in self.references.items():
            units += [self._unit(name, "reference", r) for r in references]
        for unit, outcome in self._run("calibrating", units).items():
            found = self.found[unit.task]
            if unit.phase == "reference":
                found.references[unit.candidate] = outcome
                found.reference_folders[unit.candidate] = self.queue.home(unit)
            elif self._passed(unit, outcome) and (calibration := outcome.of(Calibration)):
                found.calibrations[unit.candidate] = calibration
                found.paces[unit.candidate] = [calibration.step_seconds]

    def _passed(self, unit: Unit, outcome: Outcome) -> bool:
        if outcome.status != "ok":
            reason = outcome.reason if unit.seed is None else f"{outcome.reason} (seed {unit.seed})"
            self.found[unit.task].failures.setdefault(unit.candidate, (outcome.status, reason))
        return outcome.status == "ok"

    def search(self) -> None:
        """Run the search: two rounds with the first seed, then one for each other seed. All rates of one may fail."""
        for task, name in self._candidates():
            task.trials.setdefault(name, Trials(short=list(task.learning_rates)))
        self._climb("short", "searching learning rates")
        for task, name in self._candidates():
            trials = task.trials[name]
            if not self.plan.search_cut:
                trials.long = trials.long or ladder.contenders(self._losses(task, name, "short"))
        self._climb("long", "searching learning rates, longer runs")
        for task, name in self._candidates():
            trials = task.trials[name]
            if not trials.rates and task.rounds and task.rounds.by_seed and not self.plan.search_cut:
                trials.again = trials.again or ladder.rivals(self._losses(task, name, "long"))
        self._search("searching learning rates, the other seeds", self._waiting(self._again))
        for task, name in self._candidates():
            self._choose(task, name)

    def _candidates(self) -> list[tuple[TaskPlan, str]]:
        return [(task, name) for task in self.plan.tasks for name in self._alive(task)]

    def _climb(self, round_: Round, stage: str) -> None:
        """Run one round of the search: the planned rungs, then the next rung of each candidate that needs one."""
        planned = partial(self._search_units, round_=round_)
        while waiting := self._waiting(planned):
            new = self.queue.unfinished(waiting)
            self._search(stage, waiting)
            self.plan.search_cut |= bool(new) and is_late(self.plan, self.clock.seconds)
            if self.plan.search_cut:
                return
            for task, name in self._candidates():
                self._extend(task, name, round_)

    def _waiting(self, planned: Callable[[TaskPlan, str], list[Unit]]) -> list[Unit]:
        """Return the planned runs of all candidates whose outcomes have not been read."""
        runs = [unit for task, name in self._candidates() for unit in planned(task, name)]
        return [unit for unit in runs if unit not in self._searched]

    def _search(self, stage: str, waiting: list[Unit]) -> None:
        """Run these, or read what they found before this process, and note it."""
        self.plan.save(self.folder)
        if waiting:
            outcomes = self._run(stage, waiting)
            self._searched.update(outcomes)
            for unit in waiting:
                self._note_trial(unit, outcomes[unit])

    def _search_units(self, task: TaskPlan, name: str, round_: Round, seed: int | None = None) -> list[Unit]:
        """Return the runs of a round with the first seed, or of the choice of another one."""
        assert task.rounds is not None
        steps = task.rounds.steps_of(name)[0 if round_ == "short" else 1]
        trials = task.trials[name]
        rates = getattr(trials, round_) if seed is None else trials.again
        fields: dict[str, Any] = {"steps": steps, "seed": self.plan.seeds[0] if seed is None else seed}
        return [self._unit(task.name, "search", name, learning_rate=rate, **fields) for rate in rates]

    def _again(self, task: TaskPlan, name: str) -> list[Unit]:
        return [u for seed in self.plan.seeds[1:] for u in self._search_units(task, name, "long", seed)]

    def _losses(
        self, task: TaskPlan, name: str, round_: Round, seed: int | None = None
    ) -> dict[float, float | None]:
        """Return the losses by rate, in the order in which they were tried; None for a failed run."""
        found: dict[float, float | None] = {}
        for unit in self._search_units(task, name, round_, seed):
            outcome = self._searched[unit]
            assert unit.learning_rate is not None
            searched = outcome.of(Searched)
            found[unit.learning_rate] = searched.loss if searched else None
        return found

    def _extend(self, task: TaskPlan, name: str, round_: Round) -> None:
        """Plan the next rung of a candidate; if there is none and all runs have failed, the candidate has failed."""
        trials, losses = task.trials[name], self._losses(task, name, round_)
        failures = {
            unit.learning_rate: self._searched[unit] for unit in self._search_units(task, name, round_)
        }
        hopeless = all(outcome.status not in ("ok", "diverged") for outcome in failures.values())
        if round_ == "short":
            rate = None if hopeless else ladder.next_short(losses)
        else:
            rate = ladder.next_long(self._losses(task, name, "short"), losses)
        if rate is not None:
            getattr(trials, round_).append(rate)
        elif not ladder.best_of(losses):
            last = list(failures.values())[-1]
            reason = f"{last.reason}; every learning rate failed"
            self.found[task.name].failures.setdefault(name, (last.status, reason))

    def _choose(self, task: TaskPlan, name: str) -> None:
        trials = task.trials[name]
        rounds: tuple[Round, ...] = ("long", "short")
        best = [rate for kind in rounds for rate in ladder.best_of(self._losses(task, name, kind))]
        if best:
            seeds, rates = self.plan.seeds, [best[0]] * len(self.plan.seeds)
            if trials.again:
                each = [None, *seeds[1:]]
                losses = [self._losses(task, name, "long", seed) for seed in each]
                rates = ladder.rates_of_seeds(trials.again, losses)
            trials.rates = trials.rates or rates
            self.found[task.name].rates[name] = dict(zip(seeds, trials.rates, strict=True))
        else:
            reason = "every learning rate that there was time to try failed"
            self.found[task.name].failures.setdefault(name, ("diverged", reason))

    def _note_trial(self, unit: Unit, outcome: Outcome) -> None:
        """Record a run of the search, and its step time, which is more exact than that of the short calibration."""
        found, searched = self.found[unit.task], outcome.of(Searched) or Searched(loss=None)
        found.search.setdefault(unit.candidate, []).append(searched.run(unit, self.plan.seeds[0]))
        found.note_pace(unit.candidate, [searched.step_seconds])

    def train(self) -> None:
        """Train the full runs leg by leg; the step times of one leg decide the length of the next."""
        for number in itertools.count():
            self._decide_legs(number)
            units = [
                unit
                for task in self.plan.tasks
                if len(task.legs) > number
                for unit in self._full_runs(task, "train", task.legs[number])
            ]
            if not units:
                return
            outcomes = self._run("training", units)
            passed = [unit for unit in units if self._passed(unit, outcomes[unit])]
            runs: dict[str, dict[str, list[Trained]]] = {task.name: {} for task in self.plan.tasks}
            for (task_name, name), mine in groupby(passed, key=lambda unit: (unit.task, unit.candidate)):
                legs = [leg for unit in mine if (leg := outcomes[unit].of(Trained))]
                runs[task_name][name] = legs
                self.found[task_name].over[name] = sum(leg.over for leg in legs)
                self.found[task_name].note_pace(name, [leg.step_seconds for leg in legs])
            for task in self.plan.tasks:
                if len(task.legs) == number + 1:  # else it was decided before
                    self._stop_behind(task, runs[task.name])

    def _stop_behind(self, task: TaskPlan, runs: Mapping[str, Sequence[Trained]]) -> None:
        """Stop the candidates of a task that can no longer win, if their time can go to others.

        None is where costs are limited, as they are measured at the end: until then, any may be the best within limits.
        """
        plan, leg = self.plan, task.legs[-1]
        timed = plan.equal == "budget" and plan.granted.kind == "seconds"
        limited = plan.max_latency is not None or plan.max_bytes is not None
        if timed and not limited and leg.steps <= top(leg.schedule) and not is_trained(task):
            alive = {name: legs for name, legs in runs.items() if name in self._alive(task)}
            before = {name: c.untrained for name, c in self.found[task.name].calibrations.items()}
            task.stopped |= self.stopping[task.name](leg, alive, before)

    def _decide_legs(self, number: int) -> None:
        for task in self.plan.tasks:
            speeds, over = self._speeds()[task.name], self.found[task.name].over
            if len(task.legs) <= number and not is_trained(task) and speeds:
                seeds = len(self.plan.seeds)
                running = {n: 0 if n in task.stopped else seeds - over.get(n, 0) for n in speeds}
                decide_leg(self.plan, task, speeds, self.clock.seconds, running)
        self.plan.save(self.folder)

    def _full_runs(self, task: TaskPlan, phase: Phase, leg: Leg) -> list[Unit]:
        return [
            self._unit(
                task.name,
                phase,
                name,
                steps=task.steps_of(name, min(leg.steps, last)),
                learning_rate=self.found[task.name].rates[name][seed],
                seed=seed,
                schedule=leg.times(task.strides.get(name, 1.0)).schedule,
            )
            for name in self._alive(task)
            for last in [self._last(task, name)]
            if phase == "score" or leg.steps <= last
            for seed in self.plan.seeds
        ]

    def _last(self, task: TaskPlan, name: str) -> int:
        """Return the step after which a candidate is not trained further, as far as it is planned."""
        return (task.stopped.get(name) or task.legs[-1]).steps

    def score(self) -> None:
        """Score every full run on the test split, once."""
        units = [
            unit
            for task in self.plan.tasks
            if task.final is not None
            for unit in self._full_runs(task, "score", task.legs[-1])
        ]
        outcomes = self._run("testing", units)
        for unit in units:
            if self._passed(unit, outcomes[unit]) and (scored := outcomes[unit].of(Scored)):
                found = self.found[unit.task]
                assert unit.seed is not None
                found.runs.setdefault(unit.candidate, {})[unit.seed] = scored
                found.folders.setdefault(unit.candidate, {})[unit.seed] = self.queue.home(unit)

    def _note_disturbance(self) -> None:
        """Note in the plan if other programs slowed the comparison down."""
        if self.worked and not self.plan.busy:
            paces = [mine for found in self.found.values() for mine in found.paces.values()]
            self.plan.busy = describe_disturbance(paces, self._load, self.plan.workers * self.plan.threads)

    def measure(self) -> None:
        """Measure the costs of every candidate."""
        units = [
            self._unit(task.name, "measure", name) for task in self.plan.tasks for name in self._alive(task)
        ]
        for unit, outcome in self._run("measuring costs", units).items():
            self.found[unit.task].costs[unit.candidate] = outcome
