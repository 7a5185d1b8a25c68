"""The interface of a metric."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, final

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from anyformer.questions import Question, Target

Limits = tuple[float, float]
"""The lowest and the highest possible value; infinite if there is none."""


class MetricInfo(BaseModel):
    """The facts of a metric, as results keep them.

    Attributes:
        name, unit: as displayed.
        higher_is_better: the direction.
        best: the best value that can be expected, if known.
        limits: the lowest and highest possible value.
        places: decimal places displayed; None for four significant digits.
        ranks: False if a better value does not make better answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    name: str
    higher_is_better: bool = True
    unit: str = ""
    best: float | None = None
    limits: Limits = (-math.inf, math.inf)
    places: int | None = None
    ranks: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_results(cls, given: dict[str, object]) -> dict[str, object]:
        """Fill in fields missing from results of earlier versions, which had only the best value."""
        best, higher = given.get("best"), given.get("higher_is_better", True)
        known: dict[str, object] = {}
        if higher and best in (1.0, 100.0):
            known = {"places": 3 if best == 1.0 else 1}
        if higher and best == 1.0:
            known["limits"] = (0.0, 1.0)
        elif not higher and best == 0.0:
            known["limits"] = (0.0, math.inf)
        return {**known, **given}

    @property
    def sign(self) -> int:
        """1 if higher values are better, otherwise -1."""
        return 1 if self.higher_is_better else -1

    @property
    def direction(self) -> str:
        """The direction in words."""
        return "higher is better" if self.higher_is_better else "lower is better"


class Metric(ABC):
    """A measure of answers: statistics of each sample, and a value computed from those of all samples.

    The value may be any function of the statistics. Its variance over test sets is estimated by the jackknife.

    Args:
        question: the question asked of the model.
        best: the best value that can be expected, if it is not the limit itself.

    Raises:
        ValueError: the metric does not measure answers to this question.
    """

    name: ClassVar[str]
    """The displayed name."""
    higher_is_better: ClassVar[bool]
    limits: ClassVar[Limits] = (-math.inf, math.inf)
    places: ClassVar[int | None] = None
    """Decimal places displayed; None for four significant digits."""
    ranks: ClassVar[bool] = True
    """False if a better value does not make better answers, so that nothing is ranked by it."""
    decodes: ClassVar[bool] = False
    """True if it measures texts that a model has written: its outputs are then tokens ``(B, N)`` int64, ``IGNORED``
    behind the end."""
    scaled: ClassVar[bool] = False
    """True if errors are divided by the seasonal difference of their series."""
    id: ClassVar[str]
    """Its registered id, or the name of the class."""

    def __init_subclass__(cls) -> None:
        cls.id = cls.__name__

    def __init__(self, question: Question, *, best: float | None = None) -> None:
        if reason := self.refuses(question):
            raise ValueError(f"metric {self.id!r} {reason}")
        self.question = question
        self.info = self.describe().model_copy(update={"unit": self.unit})
        if best is not None:
            self.info = self.info.model_copy(update={"best": best})

    @classmethod
    def describe(cls) -> MetricInfo:
        """Return the facts that hold for every question; the best value is the limit, if there is one."""
        end = cls.limits[cls.higher_is_better]
        return MetricInfo(
            name=cls.name,
            higher_is_better=cls.higher_is_better,
            best=end if math.isfinite(end) else None,
            limits=cls.limits,
            places=cls.places,
            ranks=cls.ranks,
        )

    @classmethod
    def name_part(cls, kind: str, name: str, papers: tuple[str, ...] = ()) -> None:
        """Set the id at registration."""
        cls.id = name

    @classmethod
    @abstractmethod
    def refuses(cls, question: Question) -> str | None:
        """Return why it does not measure answers to this question, to follow its name; None if it does."""

    @property
    def unit(self) -> str:
        """The unit of its value."""
        return ""

    @abstractmethod
    def items(self, outputs: Tensor, target: Target) -> Tensor:
        """Return statistics of each sample.

        Args:
            outputs: a model's: logits ``(B, C)`` or ``(B, T, C)``, or numbers ``(B, N)``, normalised like the target's.
            target: the right answers.

        Returns:
            ``(B, K)`` float64.
        """

    @abstractmethod
    def value(self, items: np.ndarray) -> float:
        """Return the value of samples with these statistics ``(N, K)``; NaN if it has none."""

    def weights(self, items: np.ndarray) -> np.ndarray:
        """Return the weight of each sample, ``(N,)``; the weights sum to the effective sample size."""
        return np.ones(len(items))

    def pieces(self, items: np.ndarray, owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the contributions of groups of samples to the value, by the jackknife.

        A group of weight w out of W, without which the value v becomes v', contributes ``w v + (W - w) (v - v')``. The
        sum of contributions over the sum of weights estimates the value; for a :class:`Ratio` these are its own sums.
        (Tukey's pseudo-values, for groups of unequal weight: Busing, Meijer and van der Leeden 1999.)

        Args:
            items: ``(N, K)``.
            owner: ``(N,)``, the group of each sample, from 0.
            count: number of groups.

        Returns:
            Contributions and weights of the groups that count, ``(count,)`` or fewer. A single one, which gives no
            variance, if there is no value without one of the groups.
        """
        whole, weights = self.value(items), np.bincount(owner, self.weights(items), count)
        without = [self.value(items[owner != group]) for group in range(count)] if count > 1 else [math.nan]
        total = weights.sum()
        if not np.isfinite(without).all():
            return np.array([whole * total]), np.array([total])
        sums = weights * whole + (total - weights) * (whole - np.array(without))
        return sums[weights > 0], weights[weights > 0]

    @final
    def measure(self, outputs: Tensor, target: Target) -> np.ndarray:
        """Return the statistics of each sample, ``(B, K)`` float64; see :meth:`items`."""
        found = self.items(outputs, target).detach().double().cpu().numpy()
        if found.ndim != 2 or len(found) != len(target.values):
            raise ValueError(
                f"metric {self.id!r}: items must be of the shape (samples, statistics), "
                f"({len(target.values)}, K), got {found.shape}"
            )
        return found


class Ratio(Metric):
    """A sum over samples, divided by the sum of their weights: a mean. The statistics are these two."""

    def value(self, items: np.ndarray) -> float:
        """Return the ratio; NaN if no sample counts."""
        total, weight = (float(column.sum()) for column in np.ascontiguousarray(items.T))
        return total / weight if weight else math.nan

    def pieces(self, items: np.ndarray, owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return sums and weights of each group that counts."""
        sums, weights = (np.bincount(owner, column, count) for column in items.T)
        return sums[weights > 0], weights[weights > 0]
