"""Questions asked of a model and their right answers, for objectives and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from anyformer.precision import widen

IGNORED = -100
"""Class of targets that are ignored, in training and in metrics."""
PIECE = "piece of text"
"""Field of questions whose classes are the tokens of a text, which stand for some bytes each."""
UNKNOWN = -1
"""Class of targets that no output stands for: no answer is right, and losses leave it out."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """The question asked of a model.

    Attributes:
        kind: ``"class"``, for classes and tokens, ``"labels"``, of which any number may be right, ``"number"``, or
            ``"quantiles"`` of numbers.
        place: what is answered for: the ``"whole"`` sequence, ``"each"`` element, or the steps ``"ahead"``.
        num_classes: number of classes or labels.
        names: of the classes, where they mean something to a metric: tags, such as ``B-PER``.
        field: name of the column, in whose units numbers are; ``"byte"`` if tokens are bytes of a text, ``PIECE`` if
            they are pieces of one.
        stop: the token that ends an answer which is written token by token; None if none is.
        levels: of the quantiles, ascending: shares of cases below them.
        scaled: True if targets come with the seasonal difference of their series, by which errors can be divided.
    """

    kind: Literal["class", "labels", "number", "quantiles"]
    place: Literal["whole", "each", "ahead"]
    num_classes: int = 0
    names: tuple[str, ...] = ()
    field: str = ""
    stop: int | None = None
    levels: tuple[float, ...] = ()
    scaled: bool = False

    @property
    def what(self) -> str:
        """Name of the answers in messages."""
        return {"class": "classes", "labels": "sets of labels"}.get(self.kind, "numbers")


@dataclass(frozen=True)
class Target:
    """The right answers.

    Attributes:
        values: classes ``(B,)`` or ``(B, T)`` int64, ``IGNORED`` or ``UNKNOWN``; numbers ``(B, ...)``, NaN where
            unknown; or 1 for each label that is there ``(B, L)``, else 0.
        shift, scale: for numbers, in the shape of ``values``, float64: ``values * scale + shift`` is in the user's
            units. None if they were not normalised.
        difference: of forecasts, the mean seasonal difference of each number's series in the train split, in the user's
            units and in the shape of ``shift``.
        sizes: of classes that are pieces of a text, ``(B, T)`` int64, the bytes that each stands for.
    """

    values: Tensor
    shift: Tensor | None = None
    scale: Tensor | None = None
    difference: Tensor | None = None
    sizes: Tensor | None = None


def compacted(asked: Tensor) -> tuple[Tensor, Tensor]:
    """Return the elements that are asked about side by side, from the left, in order.

    Args:
        asked: ``(B, T)`` bool.

    Returns:
        Their indices ``(B, N)`` int64, N the largest number of a sample and at least 1; and ``(B, N)`` bool, False
        where a sample has fewer.
    """
    counts = asked.sum(1)
    longest = max(1, int(counts.max())) if len(asked) else 1
    index = (~asked).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    return index, torch.arange(index.shape[1], device=asked.device) < counts[:, None]


def quantiles_of(outputs: Tensor, shape: Sequence[int], levels: Sequence[float]) -> Tensor:
    """Return the quantiles in a model's outputs, ``(*shape, Q)``, ascending, so that none crosses another.

    Sorting moves them no farther from the true quantiles (Chernozhukov, Fernández-Val and Galichon 2010).

    Args:
        outputs: of a model, the quantiles of a number adjacent.
        shape: of the numbers.
        levels: of the ``Q`` quantiles.
    """
    return outputs.reshape(*shape, len(levels)).sort(-1).values


def pinball(quantiles: Tensor, values: Tensor, levels: Sequence[float]) -> Tensor:
    """Return the pinball loss of quantiles ``(..., Q)`` of values ``(..., Q)`` or ``(..., 1)``, in their shape."""
    error = values - quantiles
    level = error.new_tensor(levels)
    return torch.maximum(level * error, (level - 1) * error)


def log_losses(outputs: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return cross-entropy in nats, summed over each sample's classes, and their number.

    ``IGNORED`` and ``UNKNOWN`` ones are left out.

    Args:
        outputs: logits ``(B, C)`` or ``(B, T, C)``.
        classes: ``(B,)`` or ``(B, T)`` int64.

    Returns:
        Sums and counts, both ``(B,)`` float64.
    """
    asked = classes >= 0
    owner = asked.nonzero()[:, 0]
    losses = functional.cross_entropy(widen(outputs[asked]), classes[asked], reduction="none")
    sums = torch.zeros(len(classes), dtype=torch.float64, device=losses.device)
    return sums.index_add_(0, owner, losses.detach().double()), asked[:, None].flatten(1).sum(1).double()
