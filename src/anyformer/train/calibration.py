"""Calibrated probabilities: one temperature for a classifier's logits, fitted on data that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from anyformer.models import SequenceModel
from anyformer.precision import widen
from anyformer.tasks import Split, Task
from anyformer.train.models import outputs_of

FEWEST = 50
"""The fewest samples of validation that a temperature is fitted on."""
LARGEST = 20.0
"""The largest temperature; the smallest is one over it."""
BINS = 15
"""Bins of confidence, of equal width."""


@dataclass(frozen=True)
class Calibrated:
    """A temperature, by which logits are divided, and the calibration error on test samples without and with it."""

    temperature: float
    before: float
    after: float


def calibrate(
    model: SequenceModel, task: Task, *, batch_size: int, valid: int | None = None, test: int | None = None
) -> Calibrated | None:
    """Fit a temperature on the validation split, and measure it on the test split.

    Args:
        model: trained on the train split alone, in evaluation mode.
        task: its task.
        batch_size: samples at a time.
        valid, test: numbers of samples; by default all.

    Returns:
        None where no class of the whole sample is asked, or validation has too few samples.
    """
    question = task.question
    if question.kind != "class" or question.place != "whole" or task.size("valid") < FEWEST:
        return None
    temperature = fit_temperature(*_answers(model, task, "valid", valid, batch_size))
    logits, classes = _answers(model, task, "test", test, batch_size)
    errors = (calibration_error(logits / t, classes) for t in (1.0, temperature))
    return Calibrated(temperature, *errors)


@torch.no_grad()
def _answers(
    model: SequenceModel, task: Task, split: Split, items: int | None, batch_size: int
) -> tuple[Tensor, Tensor]:
    device, found = next(model.parameters()).device, []
    for batch in task.eval_batches(split, batch_size, index=task.subset(split, items)):
        batch = batch.to(device)
        logits = model.head.answer(widen(outputs_of(model, batch)), batch.asked)
        found.append((logits.double().cpu(), batch.targets.cpu()))
    logits, classes = (torch.cat(parts) for parts in zip(*found, strict=True))
    return logits, classes


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """Return the temperature of the lowest cross-entropy (Guo et al. 2017, section 4.2).

    One further sample, of which any class may be right, keeps probabilities from 1 where all samples are told rightly.

    Args:
        logits: ``(N, C)``.
        classes: ``(N,)`` int64.
    """
    ends = np.log([1 / LARGEST, LARGEST])

    def loss(log_temperature: float) -> float:
        logs = (logits / float(np.exp(log_temperature))).log_softmax(-1)
        return float(functional.nll_loss(logs, classes, reduction="sum") - logs.mean())

    return float(np.exp(minimize_scalar(loss, bounds=tuple(ends), method="bounded").x))


def calibration_error(logits: Tensor, classes: Tensor) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy (Guo et al. 2017, eq. 3)."""
    confidence, told = logits.softmax(-1).max(-1)
    right = (told == classes).double()
    place = (confidence * BINS).ceil().clamp(1, BINS).long() - 1
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, right - confidence.double())
    return float(gaps.abs().sum() / len(classes))
