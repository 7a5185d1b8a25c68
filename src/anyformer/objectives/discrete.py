"""Objectives over classes: the next token, and one class a sequence."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from anyformer.objectives.base import IGNORED, Objective, Pool, check_count, check_pool, check_shape
from anyformer.precision import widen


@dataclass(frozen=True)
class NextToken(Objective):
    """Cross-entropy of the target at every place, in nats.

    Outputs are ``(B, T, vocab_size)``; targets ``(B, T)`` int64, where ``IGNORED`` (-100) is left out.
    Targets are given, not made by shifting the input here: a task may ask for any place.
    """

    vocab_size: int
    name: str = field(default="next_token", init=False)
    pool: Pool = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_count("vocab_size", self.vocab_size)

    @property
    def num_outputs(self) -> int:
        """One logit a token of the vocabulary."""
        return self.vocab_size

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the targets that count; 0 (with a zero gradient) where none does."""
        self._check(outputs, targets)
        total = functional.cross_entropy(
            widen(outputs.flatten(0, 1)), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return total / (targets != IGNORED).sum().clamp(min=1)

    def measure_items(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """``loss`` in nats and ``accuracy``, summed over the targets of a sample that count."""
        self._check(outputs, targets)
        counts = targets != IGNORED
        owner = counts.nonzero()[:, 0]
        return _classification_measures(outputs[counts], targets[counts], owner, len(targets))

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        check_shape("outputs", outputs, (*targets.shape, self.vocab_size))


@dataclass(frozen=True)
class Classify(Objective):
    """Cross-entropy of one class a sequence, in nats. Outputs ``(B, num_classes)``, targets ``(B,)`` int64."""

    num_classes: int
    pool: Pool = "mean"
    name: str = field(default="classify", init=False)

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes)
        check_pool(self.pool)

    @property
    def num_outputs(self) -> int:
        """One logit a class."""
        return self.num_classes

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy."""
        check_shape("outputs", outputs, (targets.shape[0], self.num_classes))
        return functional.cross_entropy(widen(outputs), targets)

    def measure_items(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """``loss`` in nats and ``accuracy`` of each sequence."""
        check_shape("outputs", outputs, (targets.shape[0], self.num_classes))
        owner = torch.arange(len(targets), device=targets.device)
        return _classification_measures(outputs, targets, owner, len(targets))


def _classification_measures(
    outputs: Tensor, targets: Tensor, owner: Tensor, size: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Measures of places (P, classes) and (P,), added up by the sample (P,) that each belongs to."""

    def added(values: Tensor) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=values.device).index_add_(
            0, owner, values.detach().double()
        )

    counts = added(torch.ones_like(targets))
    loss = functional.cross_entropy(widen(outputs), targets, reduction="none")
    correct = outputs.argmax(-1) == targets
    return {"loss": (added(loss), counts), "accuracy": (added(correct), counts)}
