"""The base of metrics of the rank that the right class has among all classes."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from anyformer.metrics._base import Ratio
from anyformer.questions import IGNORED, Question, Target


class OfRank(Ratio):
    """The mean over answers of a gain, which depends on the rank of the right class among all; the first is 1.

    Classes of equal scores may come in any order: the gain is its mean over all of these orders (McSherry and Najork
    2008), so that one score for all classes is worth no more than chance. An ``UNKNOWN`` class has no rank, and gains
    nothing.
    """

    higher_is_better = True
    limits = (0.0, 1.0)
    places = 3
    cutoff: ClassVar[int | None] = None
    """The last rank that gains anything; None if all do."""

    @classmethod
    def refuses(cls, question: Question) -> str | None:
        """Refuse questions for numbers, and for one of so few classes that all of them gain."""
        if question.kind != "class":
            return f"measures ranks of classes, not {question.what}"
        if cls.cutoff is not None and question.num_classes <= cls.cutoff:
            return f"measures more than {cls.cutoff} classes, and there are {question.num_classes}"
        return None

    @abstractmethod
    def gains(self, ranks: Tensor) -> Tensor:
        """Return the gains of ranks ``(C,)`` float64 from 1 on."""

    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return the sum of gains and the number of answers of each sample, ``(B, 2)``."""
        classes, scores = target.values[..., None], outputs.detach()
        asked = classes != IGNORED
        own = scores.gather(-1, classes.clamp(min=0))
        above, equal = _count(scores > own), _count(scores == own)
        ranks = torch.arange(1, scores.shape[-1] + 1, dtype=torch.float64, device=scores.device)
        total = torch.cat([ranks.new_zeros(1), self.gains(ranks).cumsum(0)])
        found = (total[above + equal] - total[above]) / equal  # 0 / 0 where the right class has the score NaN
        found = found.masked_fill(scores.amax(-1).isnan(), torch.nan).masked_fill(classes[..., 0] < 0, 0)
        return torch.stack([one.flatten(1).sum(1) for one in (found[:, None], asked.double())], 1)


def _count(found: Tensor) -> Tensor:
    """Return the number of True along the last axis; by NumPy on a CPU, which is ten times as fast."""
    if found.device.type != "cpu":
        return found.sum(-1)
    return torch.from_numpy(np.count_nonzero(found.numpy(), axis=-1))


class OfFirst(OfRank):
    """The share of answers whose right class is among the first ``cutoff``."""

    cutoff: ClassVar[int]

    def gains(self, ranks: Tensor) -> Tensor:
        """Return 1 up to the cutoff."""
        return (ranks <= self.cutoff).double()
