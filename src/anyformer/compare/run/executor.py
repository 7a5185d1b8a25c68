"""Execution of the units of a comparison: calibrate, search, train, score, measure, and fit the references."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from torch import Tensor

from anyformer.compare.plan.schema import Calibration, Leg, Plan, TaskPlan
from anyformer.compare.results import Costs, Sample
from anyformer.compare.run.costs import (
    CALIBRATION_SECONDS,
    bare_trainer,
    measure,
    median_step_seconds,
    repeated,
)
from anyformer.compare.run.items import FEW, ITEMS, part_of, sample_of, save_items
from anyformer.compare.run.training import Look, Run, advance, lead
from anyformer.compare.run.unit import (
    Found,
    Phase,
    ReferenceFitted,
    Refitted,
    Scored,
    Searched,
    Trained,
    Unit,
)
from anyformer.compare.run.worker import Heartbeat, UnitFailed
from anyformer.files import file_digests, whole_folder
from anyformer.machine import MachineFault
from anyformer.models import SequenceModel
from anyformer.tasks import Batch, Evaluation, Split, Task, create_task, evaluate, evaluate_beside
from anyformer.tasks.base import SPLITS
from anyformer.tasks.fingerprint import check_files, check_sample, files_of
from anyformer.tasks.mapped import MappedTask
from anyformer.train import Diverged, TrainConfig, Trainer, model_for
from anyformer.train.checkpoints import CHECKPOINT
from anyformer.train.schedule import end, whole

MODEL = "model"
"""Folder of a run's model, in the folder of its unit."""


@dataclass
class TrainingExecutor:
    """Runs units of real training. It is pickled to the workers, where tasks are made once for each process.

    Args:
        folder: the comparison's folder, from which the plan is read.
        given: tasks that were passed as objects, by name.
        mapped: tasks whose large arrays are in files, by name.
        trust_code: run the Python files that the plan names.
    """

    folder: Path
    given: dict[str, Task] = field(default_factory=dict)
    mapped: dict[str, MappedTask] = field(default_factory=dict)
    trust_code: bool = False

    @cached_property
    def _tasks(self) -> dict[str, Task]:
        return {}

    def task(self, plan: TaskPlan) -> Task:
        """Return the task of a plan, made from its source unless it was passed as an object or is in files.

        Raises:
            ValueError: if it cannot be made, or its data has changed since it was planned.
        """
        if plan.name in self.given:
            return self.given[plan.name]
        if plan.data.id not in self._tasks:
            what = repr(plan.source)
            check_files(what, plan.data, files_of(plan.source, plan.code, plan.data.files))
            if plan.name in self.mapped:
                task = self.mapped[plan.name].open()
            else:
                task = task_of(plan)
                check_sample(what, plan.data, task)
            self._tasks[plan.data.id] = task
        return self._tasks[plan.data.id]

    def execute(self, unit: Unit, folder: Path, heartbeat: Heartbeat) -> Found:
        """Run one unit; see :class:`anyformer.compare.run.worker.Executor`.

        Raises:
            MachineFault: if the plan or the task, which all units need, is not available.
        """
        try:
            plan = Plan.load(self.folder, trust_code=self.trust_code)
            task_plan = plan.task(unit.task)
            if unit.data and unit.data != task_plan.data.id:
                raise ValueError(f"the plan now has other data of {unit.task!r} than this unit")
            task = self.task(task_plan)
        except ValueError as error:
            raise MachineFault(str(error)) from error
        try:
            return _Job(plan, task_plan, task, unit, folder, heartbeat).run()
        except Diverged as error:
            raise UnitFailed("diverged", str(error)) from error


def task_of(plan: TaskPlan) -> Task:
    """Make the task of a plan.

    Raises:
        ValueError: if the task was passed as an object, which only the caller of the comparison has.
    """
    if plan.source is None:
        raise ValueError(
            f"task {plan.name!r} was given as an object: "
            "resume it with compare(task, out=..., resume=True) and the same task"
        )
    return create_task(plan.source, target=plan.target, **plan.options)


@dataclass
class _Job:
    plan: Plan
    task_plan: TaskPlan
    task: Task
    unit: Unit
    folder: Path
    heartbeat: Heartbeat

    def run(self) -> Found:
        phases: dict[Phase, Callable[[], Found]] = {
            "reference": self.reference,
            "calibrate": self.calibrate,
            "search": self.search,
            "train": self.train,
            "score": self.score,
            "measure": self.measure,
            "refit": self.refit,
        }
        return phases[self.unit.phase]()

    @cached_property
    def legs(self) -> list[Leg]:
        """The legs in the steps of this unit's candidate."""
        return self.task_plan.legs_of(self.unit.candidate)

    @property
    def goes_on_from(self) -> int:
        """The step from which longer runs go on."""
        return self.task_plan.steps_of(self.unit.candidate, self.task_plan.goes_on_from)

    def model(self, *, fitted: bool = True) -> SequenceModel:
        candidate = self.task_plan.candidate(self.unit.candidate)
        assert candidate.spec is not None
        splits = SPLITS if self.unit.phase == "refit" else SPLITS[:1]
        seed = self.unit.seed or 0
        model = model_for(self.task, candidate.spec, seed=seed, fitted=fitted, splits=splits)
        model.register_forward_pre_hook(lambda *_: self.heartbeat.beat())  # every call is a sign of life
        return model

    def trainer(self, *, fitted: bool = True) -> Trainer:
        assert self.unit.learning_rate is not None
        schedule = self.unit.schedule or whole(self.unit.steps)
        config = TrainConfig(
            steps=end(schedule),
            batch_size=self.task_plan.batch_size,
            learning_rate=self.unit.learning_rate,
            seed=self.unit.seed or 0,
            schedule=schedule,
            precision="float32",
        )
        batches = self.task.batch_of_all if self.unit.phase == "refit" else None
        return Trainer(self.model(fitted=fitted), self.task, config, batches=batches)

    def run_so_far(self) -> Run:
        """Load the run from the last checkpoint of this unit or of an earlier leg; damaged ones are skipped."""
        for path in [self.folder / CHECKPOINT, *(path for _, path in self.checkpoints())]:
            if path.exists():
                try:
                    return Run.load(self.trainer(fitted=False), path, own=path.parent == self.folder)
                except (ValueError, KeyError):
                    if path.parent == self.folder:
                        path.unlink()
        return Run(self.trainer())

    def advance(self, run: Run, leg: Leg | None = None) -> None:
        """Train a run to the end of the unit, with its curve where it is in a leg."""
        look = None
        if leg is not None:
            batch_size, tokens = self.task_plan.batch_size, self.task_plan.tokens
            once = math.inf if self.task.endless else self.task.size("train") / batch_size
            evaluate = partial(self.evaluate, run.trainer, "valid", leg.curve_items)
            look = Look(leg, evaluate, tokens, self.task.metric.info.sign, once)
        advance(run, self.unit.steps, self.heartbeat, self.folder / CHECKPOINT, look)

    def checkpoints(self) -> list[tuple[Leg, Path]]:
        """Return the earlier legs, the last one first, with the paths of their checkpoints."""
        last = self.unit.steps - (self.unit.phase == "train")
        found = []
        full = self.unit.phase in ("train", "score")
        for leg in reversed(self.legs if full else []):
            update = {"phase": "train", "steps": leg.steps, "schedule": leg.schedule}
            if leg.steps <= last:
                home = self.folder.parent / self.unit.model_copy(update=update).id
                found.append((leg, home / CHECKPOINT))
        return found

    def calibrate(self) -> Calibration:
        """Measure the median seconds of a training step and of an evaluated batch, and the score before training."""
        trainer = bare_trainer(self.task, self.model(), self.task_plan.batch_size)
        untrained = self.evaluate(trainer, "valid", 2 * self.task_plan.eval_size)
        budget = self.plan.granted
        seconds = budget.amount if budget.kind == "seconds" else 0.0
        steps = median_step_seconds(trainer, self.task_plan.once, seconds)
        size = self.task_plan.eval_size

        def evaluated() -> float:
            begin = time.perf_counter()
            trainer.evaluate("valid", items=size, batch_size=size)
            return time.perf_counter() - begin

        evals = repeated(evaluated, CALIBRATION_SECONDS / 3)
        return Calibration(step_seconds=steps, eval_seconds=evals, untrained=untrained.value)

    def search(self) -> Searched:
        """Train a short run of the search; its validation loss decides about the learning rate."""
        assert self.task_plan.rounds is not None
        run = self.run_so_far()
        self.advance(run)
        found = self.evaluate(run.trainer, "valid", self.task_plan.rounds.valid_items, with_loss=True)
        return Searched(
            loss=found.loss,
            score=found.value,
            valid_sample=sample_of(found, FEW),
            step_seconds=run.step_seconds,
        )

    def train(self) -> Trained:
        """Train a leg of a full run, with its part of the learning curve, and write a checkpoint for the next leg."""
        leg = self.leg()
        run = self.run_so_far()
        self.advance(run, leg)
        run.save(self.folder / CHECKPOINT)
        for earlier, path in self.checkpoints():
            if earlier.steps != self.goes_on_from:
                path.unlink(missing_ok=True)
        return Trained(
            step_seconds=run.step_seconds,
            seconds=run.trainer.seconds,
            curve=run.curve,
            valid=run.latest,
            over=run.over,
        )

    def leg(self) -> Leg:
        """Return the leg at whose end this unit's run is."""
        return next(leg for leg in self.legs if leg.steps == self.unit.steps)

    def score(self) -> Scored:
        """Score a trained run on the validation and the test split, once, and save its model."""
        final, leg = self.task_plan.final, self.leg()
        assert final is not None
        run = self.run_so_far()
        self.advance(run, leg)  # only where checkpoints were lost
        trainer, steps = run.trainer, run.trainer.step
        valid, best_step = self.take_best(run, final.valid_items)
        test = self.evaluate(trainer, "test", final.test_items)
        found = Scored(
            score=test.value,
            valid=valid.value,
            valid_loss=valid.loss,
            valid_sample=part_of(valid, self.task, final.valid_items, self.task_plan.rounds),
            test=sample_of(test),
            seconds=trainer.seconds,
            steps=steps,
            best_step=best_step,
            curve=run.curve,
            by_length=self.beyond(trainer, final.length_items),
            beside=self.beside(trainer),
            files=_save_model(trainer.model, self.folder / MODEL),
        )
        if leg == self.legs[-1] and self.goes_on_from != leg.steps:
            self.checkpoints()[0][1].unlink(missing_ok=True)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return found

    def refit(self) -> Refitted:
        """Train a run once more, on the samples of all splits, and save its model."""
        run = self.run_so_far()
        self.advance(run)
        assert self.task_plan.final is not None
        valid = self.evaluate(run.trainer, "valid", self.task_plan.final.valid_items)
        files = _save_model(run.trainer.model, self.folder / MODEL)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return Refitted(valid=valid.value, seconds=run.trainer.seconds, files=files)

    def take_best(self, run: Run, items: int) -> tuple[Evaluation, int]:
        """Give the model the weights that count; returns their validation score and the step at which they were."""
        trainer, best = run.trainer, run.best
        last = self.evaluate(trainer, "valid", items, with_loss=True)
        if best is None or best.step == trainer.step:
            return last, trainer.step
        weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        trainer.model.load_state_dict(best.weights)
        earlier = self.evaluate(trainer, "valid", items, with_loss=True)
        ahead, error = lead(sample_of(earlier), sample_of(last), self.task.metric.info.sign)
        if ahead > error and not _is_worse(earlier.loss, last.loss):
            return earlier, best.step
        trainer.model.load_state_dict(weights)
        return last, trainer.step

    def evaluate(
        self,
        trainer: Trainer,
        split: Split,
        items: int,
        *,
        length: int | None = None,
        with_loss: bool = False,
    ) -> Evaluation:
        """Evaluate a model on ``items`` samples of a split, in batches of about the same number of tokens."""
        size = self.batch_size(length)
        return trainer.evaluate(split, items=items, length=length, batch_size=size, with_loss=with_loss)

    def batch_size(self, length: int | None = None) -> int:
        """Return the sequences in an evaluated batch of a length."""
        return max(1, self.task_plan.eval_size * self.task.train_length // (length or self.task.train_length))

    def beyond(self, trainer: Trainer, items: int) -> dict[int, Sample]:
        """Score the model at lengths never trained on, except those beyond its ``max_length``."""
        limit = trainer.model.body.info.max_length
        return {
            length: sample_of(self.evaluate(trainer, "test", items, length=length))
            for length in self.task.lengths
            if limit is None or length <= limit
        }

    def beside(self, trainer: Trainer) -> dict[str, float]:
        """Return the metrics beside the one that ranks; none of a model whose mixers cannot write token by token."""
        try:
            return trainer.evaluate_beside(batch_size=self.batch_size())
        except NotImplementedError:
            return {}

    def measure(self) -> Costs:
        """Measure the costs of the candidate."""
        trainer = bare_trainer(self.task, self.model(), self.task_plan.batch_size)
        return measure(trainer, self.plan.measuring or self.plan.measure_seconds)

    def reference(self) -> ReferenceFitted:
        """Fit a predictor without a sequence model, and score it on every test sample at every length.

        The scores of all samples are kept in a file; how many of them count is decided later.
        """
        reference = next(r for r in self.task.references() if r.name == self.unit.candidate)
        begin = time.perf_counter()
        reference.fit(self.task)
        fit_seconds = time.perf_counter() - begin
        seconds = 0.0

        def predict(batch: Batch) -> Tensor:
            nonlocal seconds
            self.heartbeat.beat()
            begin = time.perf_counter()
            predicted = reference.predict(batch)
            seconds += time.perf_counter() - begin
            return predicted

        found = {}
        for length in (*self.task.lengths, self.task.train_length):
            seconds, size = 0.0, self.batch_size(length)
            found[length] = evaluate(predict, self.task, "test", batch_size=size, length=length)
        predict_ms = 1000 * seconds / len(found[self.task.train_length])
        save_items(self.folder / ITEMS, found)
        files = file_digests(self.folder, self.folder / ITEMS)
        beside = evaluate_beside(predict, reference.decode, self.task, batch_size=self.batch_size())
        return ReferenceFitted(
            description=reference.description,
            parameters=reference.parameters,
            fit_seconds=fit_seconds,
            predict_ms=predict_ms,
            beside=beside,
            files=files,
        )


def _is_worse(loss: float | None, other: float | None) -> bool:
    """Return True if a loss is known to be above another."""
    return loss is not None and other is not None and loss > other


def _save_model(model: SequenceModel, path: Path) -> dict[str, str]:
    """Save the model in one step; returns the hashes of its files, by their names beside ``path``."""
    with whole_folder(path) as temporary:
        model.save_pretrained(temporary)
    return file_digests(path.parent, path)
