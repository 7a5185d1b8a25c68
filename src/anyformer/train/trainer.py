"""One loop for every model and task."""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from anyformer.contract import Call, Mixer, after_step, writers
from anyformer.files import whole_file
from anyformer.machine import is_memory_error
from anyformer.models import SequenceModel
from anyformer.precision import widen
from anyformer.tasks import Batch, Evaluation, Split, Task, evaluate, evaluate_beside
from anyformer.train.models import outputs_of
from anyformer.train.parts import loss_by_parts
from anyformer.train.precision import Wanted, choose_precision
from anyformer.train.recompute import recomputed
from anyformer.train.schedule import Knots, agree, share_at

BACKEND = "inductor"
"""Compiler of ``torch.compile``."""


class Diverged(RuntimeError):
    """Training gave a loss that is not finite."""


class TrainConfig(BaseModel):
    """Configuration of training: AdamW, a linear warm-up and a cosine down to a tenth of the learning rate.

    Attributes:
        steps: optimiser steps of the whole run.
        batch_size: sequences in a step.
        learning_rate: the highest, reached after ``warmup`` (a share of the steps).
        weight_decay: on matrices only.
        grad_clip: the largest norm of a gradient.
        seed: of dropout and other draws in training; the data's order is the task's.
        precision: of training steps. ``"bfloat16"`` runs them under autocast; ``"auto"`` does where the hardware
            multiplies matrices of it (:func:`anyformer.train.precision.choose_precision`). Evaluation is in float32.
        compile: compile the layers with ``torch.compile``, which takes a minute or more at the first step.
        checkpoint_activations: keep the inputs of each sublayer alone for the backward pass, which computes the rest
            again (:mod:`anyformer.train.recompute`): less memory, a third more time.
        schedule: knots of the learning rate instead of warm-up and cosine (:mod:`anyformer.train.schedule`); the last
            is at ``steps``.
        short_length, short_share: cut the windows of the first ``short_share`` of the steps into pieces of
            ``short_length`` tokens (staged training, Press 2020, section 4); for tasks with a target for each token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(300, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    warmup: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(0.1, ge=0)
    grad_clip: float = Field(1.0, gt=0)
    seed: int = 0
    precision: Wanted = "auto"
    compile: bool = False
    checkpoint_activations: bool = False
    schedule: Knots | None = None
    short_length: int | None = Field(None, ge=1)
    short_share: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, fields: Any) -> Any:
        """Read ``dtype``, the name of ``precision`` in checkpoints of earlier versions."""
        if isinstance(fields, dict) and "dtype" in fields:
            fields = {**fields, "precision": fields["dtype"]}
            del fields["dtype"]
        return fields

    @model_validator(mode="after")
    def _one_plan_for_memory(self) -> TrainConfig:
        if self.compile and self.checkpoint_activations:
            raise ValueError(
                "compile decides itself what is computed again: give it or checkpoint_activations"
            )
        return self

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if self.schedule is not None:
            return self.learning_rate * share_at(self.schedule, step + 1)
        warm = max(1, round(self.warmup * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * (0.55 + 0.45 * math.cos(math.pi * min(1.0, done)))


class Trainer:
    """Training of one model on one task, which can stop after any step and resume from a checkpoint, bit for bit.

    Args:
        model, task, config: what is trained, on what, and how.
        device: by default the GPU, if there is one.
        batches: the batch of a step, of so many samples; by default :meth:`anyformer.tasks.Task.train_batch`.

    Attributes:
        precision: of its steps, with the reason.
        step: steps done.
        seconds: time spent in steps, loading of batches included.
        losses: the loss of every step.
    """

    def __init__(
        self,
        model: SequenceModel,
        task: Task,
        config: TrainConfig,
        *,
        device: torch.device | str | None = None,
        batches: Callable[[int, int], Batch] | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device)
        self.task, self.config = task, config
        self._batches = batches or task.train_batch
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, config),
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            fused=self.device.type in ("cpu", "cuda"),  # one pass over all parameters
        )
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self._random: dict[str, Tensor] | None = None
        self._writers = writers(model)
        self.precision = choose_precision(config.precision, self.device)
        self._compiled: Any = None

    def run(self, until: int | None = None, on_step: Callable[[Trainer], Any] | None = None) -> None:
        """Train up to step ``until``, by default to the end.

        ``on_step`` is called after each step; training stops if it returns ``False``.

        Raises:
            Diverged: at a loss that is not finite.
        """
        until = self.config.steps if until is None else min(until, self.config.steps)
        self.model.train()
        with self._own_random():
            while self.step < until:
                start = time.perf_counter()
                loss = self._step()
                self.seconds += time.perf_counter() - start
                self.losses.append(loss)
                self.step += 1
                if not math.isfinite(loss):
                    raise Diverged(
                        f"the loss was {loss} at step {self.step} (learning rate {self.config.learning_rate:g})"
                    )
                if on_step is not None and on_step(self) is False:
                    break

    def _step(self) -> float:
        batch = self._batches(self.step, self.config.batch_size).to(self.device)
        if self.config.short_length and self.step < self.config.short_share * self.config.steps:
            batch = cut(batch, self.config.short_length)
        rate = self.config.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        call = Call()
        loss = self._loss(batch, call)
        total = loss + sum(call.losses.values())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        after_step(self._writers, call, (self.step + 1) / self.config.steps)
        return float(loss.detach())

    def _loss(self, batch: Batch, call: Call) -> Tensor:
        objective = self.task.objective
        with self._as_configured():
            if objective.asked_only:
                return loss_by_parts(self.model, batch, objective, call)
            outputs = outputs_of(self.model, batch, call)
        return self.model.head.loss(widen(outputs), batch.targets, objective)

    @contextmanager
    def _as_configured(self) -> Iterator[None]:
        """Run the model in the precision of training, compiled or with recomputed activations where that is asked."""
        body, config = self.model.body, self.config
        if config.compile and self._compiled is None:
            self._compiled = torch.compile(body._call_impl, backend=BACKEND)
        recomputing = recomputed(self.model) if config.checkpoint_activations else nullcontext()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision.autocast), recomputing:
            body._compiled_call_impl = self._compiled
            try:
                yield
            finally:
                body._compiled_call_impl = None

    def evaluate(
        self,
        split: Split = "valid",
        *,
        items: int | None = None,
        length: int | None = None,
        batch_size: int | None = None,
        with_loss: bool = False,
    ) -> Evaluation:
        """Return the task's metric over a split; see :func:`anyformer.tasks.evaluate`."""
        was_training = self.model.training
        self.model.eval()
        found = evaluate(
            self._predict,
            self.task,
            split,
            batch_size=batch_size or self.config.batch_size,
            items=items,
            length=length,
            device=self.device,
            with_loss=with_loss,
            head=self.model.head,
        )
        self.model.train(was_training)
        return found

    def evaluate_beside(self, *, batch_size: int | None = None) -> dict[str, float]:
        """Return the metrics beside the task's own; see :func:`anyformer.tasks.evaluate_beside`."""
        was_training = self.model.training
        self.model.eval()
        found = evaluate_beside(
            lambda batch: self.model.head.answer(self._predict(batch), batch.asked),
            self._decode,
            self.task,
            batch_size=batch_size or self.config.batch_size,
            device=self.device,
        )
        self.model.train(was_training)
        return found

    def _decode(self, batch: Batch) -> Tensor:
        return self.task.decode(self.model, batch)

    def _predict(self, batch: Batch) -> Tensor:
        return widen(outputs_of(self.model, batch))

    def save(self, path: str | Path, **facts: Any) -> None:
        """Write a checkpoint to the file ``path``, atomically.

        ``facts`` are numbers, strings, tensors, and lists and dicts of them, which :meth:`load` returns.

        Raises:
            OSError: it cannot be written; an older one then stays.
        """
        held = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "random": self._random,
            "config": self.config.model_dump(),
            "facts": facts,
        }
        with whole_file(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(held, file)

    def load(self, path: str | Path) -> dict[str, Any]:
        """Resume from a checkpoint, and return the facts that were saved with it.

        Raises:
            ValueError: the checkpoint is damaged, or of another configuration or model; this trainer may then hold a
                part of it, and must not be used.
        """
        held = _read_checkpoint(Path(path), self.device)
        if not self._continues(TrainConfig.model_validate(held["config"]), held["step"]):
            raise ValueError(
                f"checkpoint {str(path)!r} was made under {held['config']}, got {self.config.model_dump()}"
            )
        try:
            self.model.load_state_dict(held["model"])
            self.optimizer.load_state_dict(held["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(f"checkpoint {str(path)!r} is of another model: {error}") from None
        self.step, self.seconds, self.losses = held["step"], held["seconds"], held["losses"]
        self._random = held["random"]
        return dict(held["facts"])

    def _continues(self, before: TrainConfig, step: int) -> bool:
        """True if the first ``step`` steps are the same under the configuration ``before``."""
        ours = self.config
        if before == ours:
            return True
        if before.schedule is None or ours.schedule is None or step > ours.steps:
            return False
        moved = before.model_copy(update={"steps": ours.steps, "schedule": ours.schedule})
        return moved == ours and agree(before.schedule, ours.schedule, step)

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Draw from this run's own random state, which checkpoints hold."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            if self._random is None:
                torch.manual_seed(self.config.seed)
            else:
                torch.set_rng_state(self._random["cpu"].cpu())
                if devices and "cuda" in self._random:
                    torch.cuda.set_rng_state(self._random["cuda"].cpu(), self.device)
            try:
                yield
            finally:
                self._random = {"cpu": torch.get_rng_state()}
                if devices:
                    self._random["cuda"] = torch.cuda.get_rng_state(self.device)


FIELDS = {"model", "optimizer", "step", "seconds", "losses", "random", "config", "facts"}


def _read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        ValueError: it is damaged. PyTorch does not verify the checksums in the file; this does.
    """
    try:
        with zipfile.ZipFile(path) as file:
            spoiled = file.testzip()
        held = None if spoiled else torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # archives and pickles raise errors of many types
        if isinstance(error, OSError) or is_memory_error(error):
            raise
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged ({' '.join(str(error).split())[:100]})"
        ) from None
    if not isinstance(held, dict) or set(held) != FIELDS:
        raise ValueError(f"checkpoint {str(path)!r} is damaged, or was made by another version of anyformer")
    return held


def cut(batch: Batch, length: int) -> Batch:
    """Cut a batch of windows (B, T) into pieces (B * T / length, length), with the same tokens and targets.

    Raises:
        ValueError: there is not one target for each token, or ``length`` does not divide the windows.
    """
    if batch.source is not None or batch.side:
        raise ValueError("short_length is for windows that continue no source and have no side inputs")
    if not isinstance(batch.inputs, Tensor):
        raise ValueError(
            f"short_length is for windows of tokens or numbers, got fields {', '.join(batch.inputs)}"
        )
    B, T = batch.x.shape[:2]
    if batch.targets.shape[:2] != (B, T) or batch.shift is not None or T % length:
        raise ValueError(
            f"short_length must divide windows with a target for each token, got {length} for windows of {T} "
            f"and targets {tuple(batch.targets.shape)}"
        )
    return batch._map(lambda value: value.reshape(B * T // length, length, *value.shape[2:]))


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Group parameters by their modules' factors of learning rate and weight decay (by default matrices only)."""
    hints: dict[int, dict[str, Any]] = {}
    for module in model.modules():
        if isinstance(module, Mixer):
            own = dict(module.named_parameters())
            for name, hint in module.hints().items():
                hints[id(own[name])] = hint
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        hint = hints.get(id(parameter), {})
        decay = config.weight_decay * float(hint.get("decay", parameter.dim() >= 2))
        groups.setdefault((hint.get("lr_scale", 1.0), decay), []).append(parameter)
    return [
        {"params": members, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), members in groups.items()
    ]
