"""What is asked of a model and what should be answered: objectives learn it, metrics measure it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from anyformer.precision import widen

IGNORED = -100
"""A class that is not asked for: it is neither trained on nor measured."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a model.

    Attributes:
        kind: ``"class"``, one of some classes (a token is one of its vocabulary), or ``"number"``.
        place: where an answer belongs: to the ``"whole"`` sequence, to ``"each"`` element, or to the steps ``"ahead"``.
        num_classes: how many classes there are.
        field: the column that is asked for, whose units numbers are in; ``"byte"`` where tokens are bytes of a text.
        scales: of each number the mean seasonal difference in the train split, in its units; empty where not known.
    """

    kind: Literal["class", "number"]
    place: Literal["whole", "each", "ahead"]
    num_classes: int = 0
    field: str = ""
    scales: tuple[float, ...] = ()


@dataclass(frozen=True)
class Target:
    """What should be answered.

    Attributes:
        values: classes ``(B,)`` or ``(B, T)`` int64, ``IGNORED`` where nothing is asked; or numbers ``(B, ...)``, NaN
            where they are not known.
        shift, scale: of numbers, in the shape of ``values``, float64: ``values * scale + shift`` is in the user's
            units. None where they are as they came.
    """

    values: Tensor
    shift: Tensor | None = None
    scale: Tensor | None = None


def log_losses(outputs: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats, summed over the classes of each sample that are asked for, and how many these are.

    Args:
        outputs: logits ``(B, C)`` or ``(B, T, C)``.
        classes: ``(B,)`` or ``(B, T)`` int64.

    Returns:
        Sums and counts, both ``(B,)`` float64.
    """
    asked = classes != IGNORED
    owner = asked.nonzero()[:, 0]
    losses = functional.cross_entropy(widen(outputs[asked]), classes[asked], reduction="none")
    sums = torch.zeros(len(classes), dtype=torch.float64, device=losses.device)
    return sums.index_add_(0, owner, losses.detach().double()), asked[:, None].flatten(1).sum(1).double()
