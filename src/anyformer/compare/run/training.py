"""A training run of a comparison: its learning curve, the best weights on it, and when it is over before its end.

Weights that count
    Those at the end of the run, unless weights at an earlier point of the curve are better on the validation samples
    by more than the standard error of the difference, sample by sample, and their loss is not above that of the last
    ones. Where nothing is overfitted, these are the last weights.

A run that is over
    A run is not trained further once all of this holds at a point of its curve: the training data has been seen more
    than once; the best point is at least ``POINTS`` points and half of the steps ago; the validation score is behind
    that of the best point by more than ``ERRORS`` standard errors, and by at least the share ``LOST`` of all that had
    been gained since before training. The rule depends on nothing but the curve, and so holds alike in a run that was
    interrupted or is trained in other legs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from anyformer.compare.plan.schema import Leg
from anyformer.compare.results import Point, Sample
from anyformer.compare.run.items import sample_of
from anyformer.compare.run.worker import Heartbeat, Stopped
from anyformer.tasks import Evaluation
from anyformer.train import Trainer

POINTS = 4
"""Fewest points of the curve since the best one after which a run may be over."""
ERRORS = 3.0
"""Standard errors by which a run that is over had gained, and is now behind its best point."""
LOST = 0.1
"""Share of the gain since before training that a run that is over has lost again."""


@dataclass(frozen=True)
class Kept:
    """Weights at a point of the learning curve, and their score on the validation samples of the curve."""

    step: int
    valid: Sample
    weights: dict[str, Tensor]


@dataclass
class Run:
    """A training run so far.

    Attributes:
        trainer: at its present step.
        curve: learning curve so far.
        begun: the step at which this unit took it over.
        before: training seconds up to that step.
        untrained: validation score before the first step, on the samples of the curve.
        latest: validation score at the last point of the curve.
        best: weights at the best point of the curve.
        over: True if it is not trained further.
    """

    trainer: Trainer
    curve: list[Point] = field(default_factory=list)
    begun: int = 0
    before: float = 0.0
    untrained: Sample | None = None
    latest: Sample | None = None
    best: Kept | None = None
    over: bool = False

    @property
    def step_seconds(self) -> float:
        """Seconds of a step in this unit; 0 if there was none."""
        return (self.trainer.seconds - self.before) / max(1, self.trainer.step - self.begun)

    def save(self, path: Path) -> None:
        """Write a checkpoint with the learning curve and the best weights on it."""
        best = self.best
        self.trainer.save(
            path,
            curve=[point.model_dump() for point in self.curve],
            begun=self.begun,
            before=self.before,
            untrained=_dumped(self.untrained),
            latest=_dumped(self.latest),
            best=None
            if best is None
            else {"step": best.step, "valid": best.valid.model_dump(), "weights": best.weights},
            over=self.over,
        )

    @classmethod
    def load(cls, trainer: Trainer, path: Path, *, own: bool) -> Run:
        """Load a run from a checkpoint into a new trainer.

        Args:
            own: the checkpoint is of the same unit, and not of one that ended where this begins.

        Raises:
            ValueError, KeyError: the checkpoint is damaged.
        """
        facts = trainer.load(path)
        best = facts["best"]
        return cls(
            trainer,
            [Point.model_validate(point) for point in facts["curve"]],
            facts["begun"] if own else trainer.step,
            facts["before"] if own else trainer.seconds,
            _sample(facts["untrained"]),
            _sample(facts["latest"]),
            None
            if best is None
            else Kept(best["step"], Sample.model_validate(best["valid"]), dict(best["weights"])),
            facts["over"],
        )


def _dumped(sample: Sample | None) -> dict[str, Any] | None:
    return None if sample is None else sample.model_dump()


def _sample(held: dict[str, Any] | None) -> Sample | None:
    return None if held is None else Sample.model_validate(held)


@dataclass(frozen=True)
class Look:
    """Evaluation of a full run on its way.

    Attributes:
        leg: the leg in which it is.
        evaluate: scores the model on the validation samples of the curve.
        tokens: tokens in a training step.
        sign: 1 if higher scores are better, else -1.
        once: steps in which the training data is seen once; infinite if it is generated without end.
    """

    leg: Leg
    evaluate: Callable[[], Evaluation]
    tokens: int
    sign: int
    once: float

    def due(self, step: int) -> bool:
        """Return True if the curve has a point after this step."""
        return step % self.leg.every == 0 or step == self.leg.planned

    def take(self, run: Run) -> None:
        """Add a point to the curve, keep the weights if they are the best so far, and see whether the run is over."""
        trainer, found = run.trainer, self.evaluate()
        since = trainer.losses[run.curve[-1].step if run.curve else 0 :]
        run.curve.append(
            Point(
                step=trainer.step,
                seconds=trainer.seconds,
                tokens=trainer.step * self.tokens,
                train_loss=sum(since) / len(since),
                valid=found.value,
            )
        )
        run.latest = sample_of(found)
        if run.best is None or not self.sign * run.best.valid.score > self.sign * found.value:
            weights = {name: copy.deepcopy(value) for name, value in trainer.model.state_dict().items()}
            run.best = Kept(trainer.step, run.latest, weights)
        run.over = run.over or self._is_over(run, run.best, run.latest)

    def _is_over(self, run: Run, best: Kept, latest: Sample) -> bool:
        step = run.trainer.step
        since = sum(point.step > best.step for point in run.curve)
        if step <= self.once or since < POINTS or step < 2 * best.step or run.untrained is None:
            return False
        gained, noise = lead(best.valid, run.untrained, self.sign)
        lost, error = lead(best.valid, latest, self.sign)
        return gained > ERRORS * noise and lost > ERRORS * error and lost >= LOST * gained


def lead(one: Sample, other: Sample, sign: int) -> tuple[float, float]:
    """Return by how much the first score is better, and the standard error of that over the samples, taken in pairs.

    The error is infinite where samples cannot be paired, or there is only one.
    """
    ahead = sign * (one.score - other.score)
    if len(one.sums) < 2 or len(one.sums) != len(other.sums):
        return ahead, math.inf
    apart = _deviations(one) - _deviations(other)
    return ahead, math.sqrt(len(apart) / (len(apart) - 1) * float((apart**2).sum()))


def _deviations(sample: Sample) -> Any:
    """Return (P,) contributions of the pieces to the score's deviation from its mean: a ratio, made linear."""
    sums, weights = np.array(sample.sums), np.array(sample.weights)
    return (sums - sample.score * weights) / weights.sum()


def advance(run: Run, until: int, heartbeat: Heartbeat, path: Path, look: Look | None = None) -> None:
    """Train a run to a step, with checkpoints on the way.

    Args:
        until: the last step of the unit.
        heartbeat: is told the progress, and says when to write a checkpoint or stop.
        path: of the checkpoint.
        look: how its curve is measured, if it has one.

    Raises:
        Stopped: after a checkpoint, if the worker was told to stop.
    """
    trainer = run.trainer

    def told(valid: float | None = None) -> None:
        heartbeat.tell(step=trainer.step, steps=until, begun=run.begun, loss=trainer.losses[-1], valid=valid)

    def on_step(trainer: Trainer) -> bool:
        told()
        return not (heartbeat.checkpoint_due() or (look is not None and look.due(trainer.step)))

    if look is not None and trainer.step == 0:
        run.untrained = sample_of(look.evaluate())
    while trainer.step < until and not run.over:
        trainer.run(until, on_step=on_step)
        if look is not None and look.due(trainer.step):
            look.take(run)
            told(run.curve[-1].valid)
        if heartbeat.checkpoint_due() and trainer.step < until:
            with heartbeat.checkpoints.saving():
                run.save(path)
        if heartbeat.stopping:
            raise Stopped
