"""One model trained on one task in a folder, from its data to a saved model."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from anyformer.models import ModelSpec, load_spec
from anyformer.tasks import Task, create_task
from anyformer.train.bundle import FACTS, load_bundle, save_bundle
from anyformer.train.models import model_for
from anyformer.train.trainer import TrainConfig, Trainer
from anyformer.user_code import refuse_code

EVALUATIONS = 10
CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.02
"""At most this part of the time goes into checkpoints."""


class FitPlan(BaseModel):
    """What is trained, on what and how: ``train.json``, by which training goes on after an interruption."""

    source: str
    target: str | list[str] | None
    options: dict[str, Any]
    spec: dict[str, Any]
    config: TrainConfig


class Fit:
    """Trains a model in a folder, which holds the best model so far, by validation, at any moment.

    Begin with :meth:`start` or go on with :meth:`resume`; then :meth:`run`.

    Attributes:
        folder: ``train.json``, ``checkpoint.pt`` and the model, for :func:`load_bundle`.
        task, trainer: what is trained on, and the loop.
        valid: the metric on the validation split of the best model so far; None before the first.
        test: the same of the test split, once, at the end.
    """

    def __init__(self, folder: Path, plan: FitPlan, task: Task, trainer: Trainer) -> None:
        self.folder, self.plan, self.task, self.trainer = folder, plan, task, trainer
        self.valid: float | None = None
        self.test: float | None = None
        self._saved, self._every = time.monotonic(), CHECKPOINT_SECONDS

    @classmethod
    def start(
        cls,
        folder: str | os.PathLike[str],
        data: str | os.PathLike[str],
        spec: ModelSpec | Mapping[str, Any] | str | Path,
        *,
        target: str | list[str] | None = None,
        options: Mapping[str, Any] | None = None,
        trust_code: bool = False,
        **config: Any,
    ) -> Fit:
        """A new training in a new folder.

        Args:
            folder: must not hold a training or a model.
            data: the name of a task, or a file or folder of data, see :func:`anyformer.tasks.create_task`.
            spec: the model, see :func:`anyformer.models.load_spec`.
            target, options: of the task.
            trust_code: let a spec in YAML name Python files to run.
            config: fields of :class:`TrainConfig`; its ``seed`` also draws the first weights.

        Raises:
            ValueError: an argument or the data is wrong, in one sentence.
        """
        folder, source = Path(folder), os.fspath(data)
        settings = _settings(config)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a folder, got the file {str(folder)!r}")
        if (folder / "train.json").exists():
            raise ValueError(f"{str(folder)!r} already holds a training: resume it, or name another folder")
        if (folder / "config.json").exists():
            raise ValueError(f"{str(folder)!r} already holds a model: name another folder")
        loaded = load_spec(spec, trust_code=trust_code)
        task = create_task(source, target=target, **(options or {}))
        plan = FitPlan(
            source=os.path.abspath(source) if os.path.exists(source) else source,
            target=target,
            options=dict(options or {}),
            spec=loaded.model_dump(),
            config=settings,
        )
        made = cls._of(folder, plan, task)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".train.{os.getpid()}.tmp"
        temporary.write_text(plan.model_dump_json(indent=1), encoding="utf-8")
        os.replace(temporary, folder / "train.json")
        return made

    @classmethod
    def resume(cls, folder: str | os.PathLike[str], *, trust_code: bool = False) -> Fit:
        """The training in a folder, from its last checkpoint.

        Args:
            folder: as :meth:`start` made it.
            trust_code: run the Python files that its ``train.json`` names; without it they are refused.

        Raises:
            ValueError: there is none, or it has finished.
        """
        folder = Path(folder)
        if not (folder / "train.json").is_file():
            raise ValueError(f"out: there is no training in {str(folder)!r} to resume")
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8")) if (folder / FACTS).exists() else {}
        if facts.get("test") is not None:
            raise ValueError(f"the training in {str(folder)!r} has finished")
        plan = FitPlan.model_validate_json((folder / "train.json").read_text(encoding="utf-8"))
        refuse_code([plan.source, plan.options, plan.spec], folder / "train.json", trust_code=trust_code)
        made = cls._of(folder, plan, create_task(plan.source, target=plan.target, **plan.options))
        if (folder / "checkpoint.pt").exists():
            made.trainer.load(folder / "checkpoint.pt")
            made.valid = facts.get("valid")
        return made

    @classmethod
    def _of(cls, folder: Path, plan: FitPlan, task: Task) -> Fit:
        model = model_for(task, plan.spec, seed=plan.config.seed)
        return cls(folder, plan, task, Trainer(model, task, plan.config))

    def run(self, on_step: Callable[[Fit], Any] | None = None) -> None:
        """Train to the end, with checkpoints and validation on the way, and test the best model.

        Raises:
            Diverged: at a loss that is not finite.
        """
        steps = self.plan.config.steps
        due = {round(steps * part / EVALUATIONS) for part in range(1, EVALUATIONS + 1)} | {steps}

        def after(trainer: Trainer) -> None:
            if trainer.step in due:
                self._validate()
            if time.monotonic() - self._saved >= self._every:
                self._checkpoint()
            if on_step is not None:
                on_step(self)

        if self.trainer.step == steps:
            self._validate()  # stopped between the last step and the test
        self.trainer.run(on_step=after)
        self._finish()

    def _validate(self) -> None:
        value = self.trainer.evaluate("valid").value
        sign = 1 if self.task.metric.higher_is_better else -1
        if self.valid is None or math.isnan(self.valid) or sign * value >= sign * self.valid:
            self.valid = value
            self._save()

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
            metric=self.task.metric.name,
            valid=self.valid,
            test=self.test,
        )

    def _checkpoint(self) -> None:
        begin = time.monotonic()
        self.trainer.save(self.folder / "checkpoint.pt")
        self._saved = time.monotonic()
        self._every = max(CHECKPOINT_SECONDS, (self._saved - begin) / CHECKPOINT_SHARE)

    def _finish(self) -> None:
        """Test the best model; then the checkpoint has served."""
        best = load_bundle(self.folder, trust_code=True)  # this training's own
        self.trainer.model.load_state_dict(best.model.state_dict())
        self.trainer.step = best.facts["step"]
        self.test = self.trainer.evaluate("test").value
        self._save()
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)


def _settings(fields: Mapping[str, Any]) -> TrainConfig:
    try:
        return TrainConfig(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        what = first["msg"].replace("Input should be ", "must be ")
        raise ValueError(f"{name} {what[0].lower() + what[1:]}, got {first['input']!r}") from None
