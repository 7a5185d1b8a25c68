"""Objectives over classes: the next token, and one class for each sequence."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from anyformer.heads import Pool
from anyformer.objectives.base import Objective, check_count, check_pool, check_shape
from anyformer.precision import widen
from anyformer.questions import IGNORED, Question, log_losses


@dataclass(frozen=True)
class NextToken(Objective):
    """Cross-entropy of the target at every position, in nats.

    Outputs are ``(B, T, vocab_size)``; targets ``(B, T)`` int64, where ``IGNORED`` (-100) is left out. Targets are
    given, not the input shifted: a task may ask for any position.
    """

    vocab_size: int
    name: str = field(default="next_token", init=False)
    pool: Pool = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_count("vocab_size", self.vocab_size)

    @property
    def num_outputs(self) -> int:
        """One logit for each token of the vocabulary."""
        return self.vocab_size

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy over the targets that count; 0 (with a zero gradient) if none does."""
        self._check(outputs, targets)
        total = functional.cross_entropy(
            widen(outputs.flatten(0, -2)), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return total / (targets != IGNORED).sum().clamp(min=1)

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy summed over each sample's targets that count, and their number."""
        self._check(outputs, targets)
        return log_losses(outputs, targets)

    @property
    def question(self) -> Question:
        """A class at each position."""
        return Question(kind="class", place="each", num_classes=self.vocab_size)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        check_shape("outputs", outputs, (*targets.shape, self.vocab_size))


@dataclass(frozen=True)
class NextItem(NextToken):
    """Cross-entropy of the next item of a catalogue, in nats, at the elements that ask for one."""

    name: str = field(default="next_item", init=False)
    asked_only = True


@dataclass(frozen=True)
class Classify(Objective):
    """Cross-entropy of one class for each sequence, in nats. Outputs ``(B, num_classes)``, targets ``(B,)`` int64.

    ``weights``, one for each class, multiply the losses in training, whose mean is then the weighted one.
    """

    num_classes: int
    pool: Pool = "mean"
    weights: tuple[float, ...] | None = None
    name: str = field(default="classify", init=False)

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes)
        check_pool(self.pool)
        if self.weights is not None and (len(self.weights) != self.num_classes or min(self.weights) < 0):
            raise ValueError(f"weights must be {self.num_classes} numbers, none negative, got {self.weights}")

    @property
    def num_outputs(self) -> int:
        """One logit for each class."""
        return self.num_classes

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy over the targets that count; 0 (with a zero gradient) if none does."""
        check_shape("outputs", outputs, (targets.shape[0], self.num_classes))
        outputs = widen(outputs)
        weights = None if self.weights is None else outputs.new_tensor(self.weights)
        total = functional.cross_entropy(
            outputs, targets, weight=weights, ignore_index=IGNORED, reduction="sum"
        )
        asked = targets != IGNORED
        if weights is None:
            return total / asked.sum().clamp(min=1)
        weight = weights[targets[asked]].sum()
        return total / torch.where(weight > 0, weight, 1)

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of each sequence, and the number of its targets that count."""
        check_shape("outputs", outputs, (targets.shape[0], self.num_classes))
        return log_losses(outputs, targets)

    @property
    def question(self) -> Question:
        """A class of the whole sequence."""
        return Question(kind="class", place="whole", num_classes=self.num_classes)
