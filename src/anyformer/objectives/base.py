"""The interface of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from anyformer.heads import Pool
from anyformer.questions import Question


class Objective(ABC):
    """The meaning of a model's outputs, and their loss.

    The objective gives the width of the model's head (``num_outputs``), and how the hidden states are pooled over time
    before it (``pool``; None for an output at each token). A head can have another loss (:mod:`anyformer.heads`).
    """

    name: str
    pool: Pool
    asked_only: ClassVar[bool] = False
    """True if outputs are so many that training makes those of asked elements only, without a pool, and in parts."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Width of the model's head."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over the targets that count, a scalar in at least float32."""

    @abstractmethod
    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over each sample's targets that count, and their number, both ``(B,)`` float64."""

    @property
    @abstractmethod
    def question(self) -> Question:
        """The question that the outputs answer."""


def check_pool(pool: Pool) -> None:
    """Raise ``ValueError`` unless ``pool`` is a way to pool a whole sequence."""
    if pool not in ("mean", "last"):
        raise ValueError(f"pool must be 'mean' or 'last' for one output a sequence, got {pool!r}")


def check_count(name: str, value: int) -> None:
    """Raise ``ValueError`` unless ``value`` is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``tensor`` has the ``expected`` shape."""
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{name} must have shape {expected}, got {tuple(tensor.shape)}")
