"""One model trained on one task in a folder, from its data to a saved model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from anyformer.machine import MachineFault, is_memory_error, machine_fault
from anyformer.models import ModelSpec, load_spec
from anyformer.spelling import option
from anyformer.tasks import Task, create_task, is_path
from anyformer.tasks.fingerprint import (
    DataChanged,
    FileFacts,
    Fingerprint,
    check_files,
    check_sample,
    files_of,
    sample_of_task,
)
from anyformer.tasks.memory import IN_MEMORY, Memory, on_disk, source_of
from anyformer.tasks.readers import absolute_options
from anyformer.train.bundle import FACTS, FILES, complete_bundle, load_bundle, save_bundle
from anyformer.train.calibration import Calibrated, calibrate
from anyformer.train.checkpoints import CHECKPOINT, CheckpointTimer
from anyformer.train.fit_plan import PLAN, FitPlan, read_mapping
from anyformer.train.logs import Log
from anyformer.train.models import model_for, spec_for
from anyformer.train.trainer import TrainConfig, Trainer
from anyformer.user_code import refuse_code

EVALUATIONS = 10
"""Validations of a training, evenly over its steps."""
POINTS = 200
"""The most points of a curve of the training loss."""


class Fit:
    """Training of a model in a folder, which holds the best model so far, by validation, at any moment.

    Begin with :meth:`start` or continue with :meth:`resume`; then :meth:`run`.

    Attributes:
        folder: ``train.json``, ``checkpoint.pt`` and the model, for :func:`load_bundle`.
        task, trainer: the data and the loop.
        valid: the metric on the validation split of the best model so far; None before the first.
        best_step: the step of that model; 0 before the first.
        stopped: the step after which the training ended early; None if it did not.
        test: the same of the test split, once, at the end.
        calibrated: the temperature of the probabilities that it predicts with, at the end; None where none is fitted.
        beside: the metrics besides that one of test samples, by name, at the end.
    """

    def __init__(self, folder: Path, plan: FitPlan, task: Task, trainer: Trainer) -> None:
        self.folder, self.plan, self.task, self.trainer = folder, plan, task, trainer
        self.valid: float | None = None
        self.best_step = 0
        self.stopped: int | None = None
        self.test: float | None = None
        self.beside: dict[str, float] = {}
        self.calibrated: Calibrated | None = None
        self._timer = CheckpointTimer()

    @classmethod
    def start(
        cls,
        folder: str | os.PathLike[str],
        data: str | os.PathLike[str] | Memory,
        spec: ModelSpec | Mapping[str, Any] | str | Path,
        *,
        target: str | list[str] | None = None,
        metric: str | list[str] | None = None,
        options: Mapping[str, Any] | None = None,
        patience: int | None = None,
        trust_code: bool = False,
        **config: Any,
    ) -> Fit:
        """Start a new training in a new folder.

        Args:
            folder: must not hold a training or a model.
            data: the name of a task, or a file or folder of data, see :func:`anyformer.tasks.create_task`; or data in
                memory, a DataFrame, arrays ``(x, y)`` or a ``Dataset`` of such pairs, which is written into the folder.
            spec: the model, see :func:`anyformer.models.load_spec`.
            target, metric, options: of the task.
            patience: end the training after so many validations in a row without a better one; there are
                ``EVALUATIONS``, evenly over the steps. By default it runs to its end: a model improves most while the
                learning rate falls, and the best one is kept in either case.
            trust_code: let a spec in YAML name Python files to run.
            config: fields of :class:`TrainConfig`; its ``seed`` also draws the initial weights.

        Raises:
            ValueError: an argument or the data is wrong, in one sentence.
        """
        folder = Path(folder)
        settings = _settings(config)
        if patience is not None and not 1 <= patience < EVALUATIONS:
            raise ValueError(
                f"{option('patience')} must be a number of validations from 1 to {EVALUATIONS - 1}, got {patience!r}"
            )
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a folder, got the file {str(folder)!r}")
        if (folder / PLAN).exists():
            raise ValueError(f"{str(folder)!r} already holds a training: resume it, or name another folder")
        for file, what in (("config.json", "a model"), ("plan.json", "a comparison")):
            if (folder / file).exists():
                raise ValueError(f"{str(folder)!r} already holds {what}: name another folder")
        loaded = load_spec(spec, trust_code=trust_code)
        given = {**(options or {}), **({} if metric is None else {"metric": metric})}
        if isinstance(data, IN_MEMORY):
            with on_disk(data, folder) as path:
                return cls._planned(folder, str(path), loaded, target, given, settings, patience)
        return cls._planned(folder, source_of(data), loaded, target, given, settings, patience)

    @classmethod
    def _planned(
        cls,
        folder: Path,
        source: str,
        spec: ModelSpec,
        target: str | list[str] | None,
        options: dict[str, Any],
        config: TrainConfig,
        patience: int | None,
    ) -> Fit:
        task = create_task(source, target=target, **options)
        plan = FitPlan(
            source=os.path.abspath(source) if is_path(source) else source,
            target=target,
            options=absolute_options(source, options) if is_path(source) else options,
            spec=spec_for(task, spec).model_dump(),
            config=config,
            patience=patience,
            data=Fingerprint(sample=sample_of_task(task)),
        )
        plan.data.files = files_of(source, plan.code)
        made = cls._of(folder, plan, task)
        folder.mkdir(parents=True, exist_ok=True)
        plan.save(folder)
        return made

    @classmethod
    def resume(
        cls,
        folder: str | os.PathLike[str],
        *,
        accept_changed_data: bool = False,
        trust_code: bool = False,
    ) -> Fit:
        """Resume the training in a folder from its last checkpoint.

        Args:
            folder: as :meth:`start` made it.
            accept_changed_data: begin anew if the data has changed; without it, changed data is refused.
            trust_code: run the Python files that its ``train.json`` names; without it they are refused.

        Raises:
            DataChanged: the data has changed.
            ValueError: there is no training, it has finished, or a file of it is damaged; one sentence says which.
        """
        folder = Path(folder)
        complete_bundle(folder)
        plan = FitPlan.load(folder)
        refuse_code(plan.code, folder / PLAN, trust_code=trust_code)
        facts = read_mapping(folder / FACTS) if (folder / FACTS).exists() else {}
        if facts.get("test") is not None:
            raise ValueError(f"the training in {str(folder)!r} has finished")
        files = files_of(plan.source, plan.code)
        try:
            check_files(repr(plan.source), plan.data, files)
            task = create_task(plan.source, target=plan.target, **plan.options)
            check_sample(repr(plan.source), plan.data, task)
        except DataChanged as error:
            if not accept_changed_data:
                raise DataChanged(
                    f"{error}; restore it, or begin anew on it with accept_changed_data=True (on the command line, "
                    "--accept-changed-data)"
                ) from None
            return cls._restart(folder, plan, files)
        made = cls._of(folder, plan, task)
        made._load_checkpoint(facts)
        return made

    @classmethod
    def _restart(cls, folder: Path, plan: FitPlan, files: dict[str, FileFacts]) -> Fit:
        """Restart the training on the data as it is now."""
        task = create_task(plan.source, target=plan.target, **plan.options)
        data = Fingerprint(files=files, sample=sample_of_task(task))
        made = cls._of(folder, plan.model_copy(update={"data": data}), task)
        for name in (CHECKPOINT, *FILES, FACTS):
            (folder / name).unlink(missing_ok=True)
        made.plan.save(folder)
        return made

    def _load_checkpoint(self, facts: Mapping[str, Any]) -> None:
        """Load the last checkpoint and the best model so far."""
        checkpoint = self.folder / CHECKPOINT
        if not checkpoint.exists():
            return
        try:
            self.trainer.load(checkpoint)
        except ValueError as error:
            raise ValueError(f"{error}: delete it, and the training starts anew") from None
        if facts:
            try:
                load_bundle(self.folder, trust_code=True)  # this training's own
            except ValueError as error:
                raise ValueError(
                    f"{error}; delete {', '.join(FILES)} and {FACTS} there, and the training continues without the "
                    "best model so far"
                ) from None
            self.valid, self.best_step = facts.get("valid"), facts.get("step", 0)

    @classmethod
    def _of(cls, folder: Path, plan: FitPlan, task: Task) -> Fit:
        model = model_for(task, plan.spec, seed=plan.config.seed)
        return cls(folder, plan, task, Trainer(model, task, plan.config))

    def run(self, on_step: Callable[[Fit], Any] | None = None, *, log: Log | None = None) -> None:
        """Train to the end, with checkpoints and validation on the way, and test the best model.

        Args:
            on_step: called after each step.
            log: takes the curves, for a file or a logger of another library (:mod:`anyformer.train.logs`): the mean
                loss and the learning rate, at most ``POINTS`` times, the metric in validation, and in the end in test.

        Raises:
            Diverged: at a loss that is not finite.
            MachineFault: the disk is full or broken, or memory is not enough; what is saved stays, to be resumed.
        """
        try:
            self._run(on_step, log or (lambda step, values: None))
        except Exception as error:
            fault = machine_fault(error, self.folder)
            if fault is None and is_memory_error(error):
                fault = (
                    f"memory is not enough ({' '.join(str(error).split())[:200] or 'no more was to be had'})"
                )
            if fault is None:
                raise
            raise MachineFault(
                f"{fault}; the training stopped. The best model so far and the last checkpoint are safe in "
                f"{self.folder}. When that is repaired, continue with: anyformer train --out {self.folder} --resume"
            ) from error

    def _run(self, on_step: Callable[[Fit], Any] | None, log: Log) -> None:
        steps = self.plan.config.steps
        every = max(1, steps // POINTS)

        def after(trainer: Trainer) -> bool:
            if trainer.step % every == 0 or trainer.step == steps:
                recent = trainer.losses[-every:]
                rate = trainer.config.rate(trainer.step - 1)
                log(trainer.step, {"train/loss": sum(recent) / len(recent), "train/learning_rate": rate})
            if trainer.step in self._due:
                log(trainer.step, {f"valid/{self.task.metric.id}": self._validate()})
            if self._timer.due:
                self._checkpoint()
            if on_step is not None:
                on_step(self)
            return not self._out_of_patience()

        if self.trainer.step == steps:
            self._validate()  # stopped between the last step and the test
        if not self._out_of_patience():
            self.trainer.run(on_step=after)
        self.stopped = self.trainer.step if self.trainer.step < steps else None
        self._finish()
        assert self.test is not None
        log(self.best_step, {f"test/{self.task.metric.id}": self.test})

    @property
    def _due(self) -> set[int]:
        """Steps after which the model is validated."""
        steps = self.plan.config.steps
        return {round(steps * part / EVALUATIONS) for part in range(1, EVALUATIONS + 1)} - {0}

    def _out_of_patience(self) -> bool:
        """True if the last validations, as many as the patience, were no better than one before."""
        since = sum(self.best_step < step <= self.trainer.step for step in self._due)
        return self.plan.patience is not None and since >= self.plan.patience

    def _validate(self) -> float:
        value = self.trainer.evaluate("valid").value
        sign = self.task.metric.info.sign
        if self.valid is None or math.isnan(self.valid) or sign * value >= sign * self.valid:
            self.valid, self.best_step = value, self.trainer.step
            self._save()
        return value

    def _save(self) -> None:
        plan, trainer = self.plan, self.trainer
        save_bundle(
            self.folder,
            trainer.model,
            self.task,
            source=plan.source,
            target=plan.target,
            options=plan.options,
            seed=plan.config.seed,
            step=trainer.step,
            metric=self.task.metric.info.name,
            valid=self.valid,
            test=self.test,
            **({} if self.calibrated is None else {"temperature": self.calibrated.temperature}),
        )

    def _checkpoint(self) -> None:
        with self._timer.saving():
            self.trainer.save(self.folder / CHECKPOINT)

    def _finish(self) -> None:
        """Test the best model and delete the checkpoint."""
        best = load_bundle(self.folder, trust_code=True)  # this training's own
        self.trainer.model.load_state_dict(best.model.state_dict())
        self.trainer.step = best.facts["step"]
        self.test = self.trainer.evaluate("test").value
        self.calibrated = calibrate(
            self.trainer.model.eval(), self.task, batch_size=self.plan.config.batch_size
        )
        self.beside = self.trainer.evaluate_beside()
        self._save()
        (self.folder / CHECKPOINT).unlink(missing_ok=True)


def _settings(fields: Mapping[str, Any]) -> TrainConfig:
    try:
        return TrainConfig(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if not name:
            raise ValueError(first["msg"].removeprefix("Value error, ")) from None
        what = first["msg"].replace("Input should be ", "must be ")
        raise ValueError(f"{name} {what[0].lower() + what[1:]}, got {first['input']!r}") from None
