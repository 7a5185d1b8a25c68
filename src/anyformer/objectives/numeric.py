"""Objectives over numbers: values of a whole sequence, and the values that follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from anyformer.heads import Pool
from anyformer.objectives.base import Objective, check_count, check_pool, check_shape
from anyformer.precision import widen
from anyformer.questions import Question, pinball
from anyformer.spelling import option


@dataclass(frozen=True)
class Regress(Objective):
    """Numbers that belong to a whole sequence, trained with Huber's loss.

    Outputs and targets are ``(B, num_values)``, the targets standardised, so that the loss is quadratic within
    one standard deviation and linear beyond, which bounds the effect of outliers. NaN targets are left out.
    """

    num_values: int
    pool: Pool = "mean"
    name: str = field(default="regress", init=False)

    def __post_init__(self) -> None:
        check_count("num_values", self.num_values)
        check_pool(self.pool)

    @property
    def num_outputs(self) -> int:
        """One output for each value."""
        return self.num_values

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean Huber loss over the targets that are not NaN; 0 if all are."""
        outputs, targets, known = _known(self, outputs, targets)
        total = functional.huber_loss(outputs, targets, reduction="sum")
        return total / known.sum().clamp(min=1)

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Huber loss summed over each sample's targets that are not NaN, and their number."""
        outputs, targets, known = _known(self, outputs, targets)
        loss = functional.huber_loss(outputs, targets, reduction="none")
        return loss.detach().double().sum(1), known.sum(1).double()

    @property
    def question(self) -> Question:
        """Numbers of the whole sequence."""
        return Question(kind="number", place="whole")


@dataclass(frozen=True)
class Forecast(Objective):
    """The ``horizon`` values of ``num_variates`` series that follow a window, trained with the absolute error.

    Outputs are ``(B, horizon * num_variates)``, the variates of one time step adjacent, or without pooling, as inputs
    are the steps of the horizon, ``(B, horizon, num_variates)``. Targets are ``(B, horizon, num_variates)``, normalised
    by the window before them. The absolute error is also the metric of forecasts. NaN targets are left out.
    """

    horizon: int
    num_variates: int
    pool: Pool = "last"
    name: str = field(default="forecast", init=False)

    def __post_init__(self) -> None:
        check_count("horizon", self.horizon)
        check_count("num_variates", self.num_variates)
        if self.pool is not None:
            check_pool(self.pool)

    @property
    def num_outputs(self) -> int:
        """One output for each time step and variate, or without pooling for each variate."""
        return (1 if self.pool is None else self.horizon) * self.num_variates

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean absolute error over the targets that are not NaN; 0 if all are."""
        outputs, targets, known = _known(self, outputs, targets)
        return (outputs - targets).abs().sum() / known.sum().clamp(min=1)

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the absolute error summed over each sample's targets that are not NaN, and their number."""
        outputs, targets, known = _known(self, outputs, targets)
        return (outputs - targets).abs().detach().double().sum(1), known.sum(1).double()

    @property
    def question(self) -> Question:
        """Numbers that follow the sequence."""
        return Question(kind="number", place="ahead")


@dataclass(frozen=True)
class QuantileForecast(Forecast):
    """Quantiles of the values that follow a window, trained with the pinball loss (Koenker and Bassett 1978).

    A quantile q of level p costs ``max(p (y - q), (p - 1) (y - q))``: it is least, on average, where y lies below q in
    a share p of cases. Outputs are those of :class:`Forecast`, but with the ``Q`` quantiles of one value adjacent in
    place of the value; targets are the same. Outputs are trained in any order, and sorted where they are answers
    (:func:`anyformer.questions.quantiles_of`), so that quantiles do not cross.

    Args:
        levels: of the quantiles, ascending, between 0 and 1.
    """

    levels: tuple[float, ...] = field(kw_only=True)
    name: str = field(default="quantile_forecast", init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_levels(self.levels)

    @property
    def num_outputs(self) -> int:
        """As many outputs for each value as there are quantiles."""
        return super().num_outputs * len(self.levels)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean pinball loss over quantiles and over the targets that are not NaN; 0 if all are."""
        costs, known = self._costs(outputs, targets)
        return costs.sum() / known.sum().clamp(min=1)

    def loss_items(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each sample's sum over targets that are not NaN of the mean loss of quantiles, and their number."""
        costs, known = self._costs(outputs, targets)
        return costs.detach().double().sum(1), known.sum(1).double()

    @property
    def question(self) -> Question:
        """Quantiles of the numbers that follow the sequence."""
        return Question(kind="quantiles", place="ahead", levels=self.levels)

    def _costs(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of each target's quantiles ``(B, N)``, 0 where it is NaN, and the mask of the others."""
        outputs, flat, known = _known(self, outputs, targets.repeat_interleave(len(self.levels), -1))
        per_target = (len(targets), -1, len(self.levels))
        costs = pinball(outputs.view(per_target), flat.view(per_target), self.levels)
        return costs.mean(-1), known.view(per_target)[..., 0]


def check_levels(levels: Sequence[float]) -> None:
    """Raise ``ValueError`` unless these are levels of quantiles: between 0 and 1, ascending."""
    numbers = all(isinstance(level, int | float) and 0 < level < 1 for level in levels)
    if not levels or not numbers or list(levels) != sorted(set(levels)):
        raise ValueError(
            f"{option('quantiles')} must be numbers between 0 and 1 in ascending order, such as [0.1, 0.5, 0.9], got "
            f"{list(levels)}"
        )


def _known(objective: Objective, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs and targets ``(B, N)``, zero where a target is NaN, and the mask of the others."""
    places = targets.shape[:2] if objective.pool is None else targets.shape[:1]
    check_shape("outputs", outputs, (*places, objective.num_outputs))
    outputs = widen(outputs.flatten(1))
    flat = targets.reshape(targets.shape[0], -1).to(outputs.dtype)
    check_shape("targets, flattened,", flat, tuple(outputs.shape))
    known = ~flat.isnan()
    zero = flat.new_zeros(())
    return torch.where(known, outputs, zero), torch.where(known, flat, zero), known
