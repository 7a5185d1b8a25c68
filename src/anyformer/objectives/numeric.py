"""Objectives over numbers: values of a whole sequence, and the values that follow it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from anyformer.objectives.base import Objective, Pool, check_count, check_pool, check_shape
from anyformer.precision import widen


@dataclass(frozen=True)
class Regress(Objective):
    """Numbers that belong to a whole sequence, trained with Huber's loss.

    Outputs and targets are ``(B, num_values)``, the targets standardised, so that the loss is quadratic within
    one standard deviation and linear beyond: outliers do not rule. A NaN target is left out.
    """

    num_values: int
    pool: Pool = "mean"
    name: str = field(default="regress", init=False)

    def __post_init__(self) -> None:
        check_count("num_values", self.num_values)
        check_pool(self.pool)

    @property
    def num_outputs(self) -> int:
        """One output a value."""
        return self.num_values

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean Huber loss over the targets that are not NaN; 0 where all are."""
        outputs, targets, known = _known(self, outputs, targets)
        total = functional.huber_loss(outputs, targets, reduction="sum")
        return total / known.sum().clamp(min=1)

    def measure_items(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """``loss``, ``mae`` and ``mse``, summed over the targets of a sample that are not NaN."""
        outputs, targets, known = _known(self, outputs, targets)
        loss = functional.huber_loss(outputs, targets, reduction="none")
        return _numeric_measures(loss, outputs - targets, known)


@dataclass(frozen=True)
class Forecast(Objective):
    """The ``horizon`` values of ``num_variates`` series that follow a window, trained with the absolute error.

    Outputs are ``(B, horizon * num_variates)``, the variates of one time step adjacent; targets are
    ``(B, horizon, num_variates)``, normalised by the window they follow. The absolute error is also what
    forecasts are scored by, so nothing is lost between training and leaderboard. A NaN target is left out.
    """

    horizon: int
    num_variates: int
    pool: Pool = "last"
    name: str = field(default="forecast", init=False)

    def __post_init__(self) -> None:
        check_count("horizon", self.horizon)
        check_count("num_variates", self.num_variates)
        check_pool(self.pool)

    @property
    def num_outputs(self) -> int:
        """One output a time step and variate."""
        return self.horizon * self.num_variates

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean absolute error over the targets that are not NaN; 0 where all are."""
        outputs, targets, known = _known(self, outputs, targets)
        return (outputs - targets).abs().sum() / known.sum().clamp(min=1)

    def measure_items(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """``loss`` (the absolute error), ``mae`` and ``mse``, summed over the targets that are not NaN."""
        outputs, targets, known = _known(self, outputs, targets)
        return _numeric_measures((outputs - targets).abs(), outputs - targets, known)


def _known(objective: Objective, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and targets ``(B, num_outputs)`` with zeros where a target is NaN, and where it is not."""
    check_shape("outputs", outputs, (targets.shape[0], objective.num_outputs))
    outputs = widen(outputs)
    flat = targets.reshape(targets.shape[0], -1).to(outputs.dtype)
    check_shape("targets, flattened,", flat, (targets.shape[0], objective.num_outputs))
    known = ~flat.isnan()
    zero = flat.new_zeros(())
    return torch.where(known, outputs, zero), torch.where(known, flat, zero), known


def _numeric_measures(loss: Tensor, error: Tensor, known: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Measures of samples from what each of their values (B, num_outputs) adds, 0 where it is not known."""
    counts, error = known.sum(1).double(), error.detach().double()
    return {
        "loss": (loss.detach().double().sum(1), counts),
        "mae": (error.abs().sum(1), counts),
        "mse": (error.square().sum(1), counts),
    }
