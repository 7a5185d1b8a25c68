"""The objective of labels: any number of them for each sequence."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from anyformer.heads import Pool
from anyformer.objectives.base import Objective, check_count, check_pool, check_shape
from anyformer.precision import widen
from anyformer.questions import Question


@dataclass(frozen=True)
class Labels(Objective):
    """Binary cross-entropy of each of the labels that a sequence may have, in nats.

    Outputs and targets are ``(B, num_labels)``: logits, and 1 where a label is there, else 0; NaN is left out.
    """

    num_labels: int
    pool: Pool = "mean"
    names: tuple[str, ...] = ()
    name: str = field(default="labels", init=False)

    def __post_init__(self) -> None:
        check_count("num_labels", self.num_labels)
        check_pool(self.pool)

    @property
    def num_outputs(self) -> int:
        """One logit for each label."""
        return self.num_labels

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the targets that are not NaN; 0 if all are."""
        costs, known = self._costs(outputs, targets)
        return costs.sum() / known.sum().clamp(min=1)

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over each sequence's targets that are not NaN, and their number."""
        costs, known = self._costs(outputs, targets)
        return costs.detach().double().sum(1), known.sum(1).double()

    @property
    def question(self) -> Question:
        """The labels of the whole sequence."""
        return Question(kind="labels", place="whole", num_classes=self.num_labels, names=self.names)

    def _costs(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        check_shape("outputs", outputs, (targets.shape[0], self.num_labels))
        outputs, known = widen(outputs), ~targets.isnan()
        told = targets.nan_to_num().to(outputs.dtype)
        costs = functional.binary_cross_entropy_with_logits(outputs, told, reduction="none")
        return costs.where(known, 0.0), known
