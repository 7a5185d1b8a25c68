"""Predictors without a sequence model, which stand on every leaderboard.

They are fitted on the train split, their settings chosen on the validation split, and scored by the task's own
metric on the same test batches as the candidates, so that "no sequence model is needed" is a possible verdict.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from anyformer.objectives import Classify, Forecast, Labels, Regress
from anyformer.tasks.base import Reference
from anyformer.tasks.evaluation import evaluate
from anyformer.tasks.label_references import LabelShares, log_odds, one_for_each, probabilities

if TYPE_CHECKING:
    from anyformer.tasks.base import Split, Task
    from anyformer.tasks.batch import Batch

BUCKETS = 2**13
"""Number of buckets of hashed counts."""
FIT_SAMPLES = 5000
"""Number of samples that the linear models are fitted on."""


def score_reference(
    reference: Reference,
    task: Task,
    split: Split = "test",
    *,
    batch_size: int = 256,
    length: int | None = None,
    items: int | None = None,
) -> float:
    """Return the task's metric of a fitted reference over a split, or over ``items`` samples of it."""
    return evaluate(reference.predict, task, split, batch_size=batch_size, length=length, items=items).value


class Token(Reference):
    """Predict the same token at every position."""

    def __init__(self, token: int, name: str, description: str) -> None:
        super().__init__(name, description)
        self.token = token

    def fit(self, task: Task) -> Token:
        """Take the size of the vocabulary from the task."""
        self.num_outputs = task.objective.num_outputs
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return logits ``(B, T, vocab_size)``."""
        return functional.one_hot(torch.full_like(batch.x, self.token), self.num_outputs).float()


class SameToken(Token):
    """Predict at each position its own input token."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(0, name, description)

    def predict(self, batch: Batch) -> Tensor:
        """Return logits ``(B, T, vocab_size)``."""
        return functional.one_hot(batch.x, self.num_outputs).float()


class FirstValue(Reference):
    """Predict the second token of the sample at every position."""

    def fit(self, task: Task) -> FirstValue:
        """Take the size of the vocabulary from the task."""
        self.num_outputs = task.objective.num_outputs
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return logits ``(B, T, vocab_size)``."""
        return functional.one_hot(batch.x[:, 1:2].expand_as(batch.x), self.num_outputs).float()


class Majority(Reference):
    """Predict the class frequencies of the train split, whatever the input."""

    def __init__(self) -> None:
        super().__init__("majority", "always the most frequent class")

    def fit(self, task: Task) -> Majority:
        """Count the classes."""
        targets = task.train_sample(10**6).targets
        counts = torch.bincount(targets, minlength=task.objective.num_outputs).double()
        self.logits = (counts + 1e-6).log().float()
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return logits ``(B, num_classes)``."""
        return self.logits.expand(len(batch), -1)


class Median(Reference):
    """Predict the median of each target in the train split: the best constant for the absolute error."""

    def __init__(self) -> None:
        super().__init__("median", "always the median of the training targets")

    def fit(self, task: Task) -> Median:
        """Take the medians."""
        self.value = task.train_sample(10**6).targets.nanmedian(0).values
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, num_values)``."""
        return self.value.expand(len(batch), -1)


def window_of(batch: Batch) -> Tensor:
    """Return the numbers ``(B, context, M)`` of windows, with their marks; of fields they are the first."""
    past = batch.inputs if batch.source is None else batch.source.inputs
    return past if isinstance(past, Tensor) else next(iter(past.values()))


class LastValue(Reference):
    """Predict the last value of the window for the whole horizon."""

    def __init__(self, columns: list[int]) -> None:
        super().__init__("last value", "repeats the last value seen")
        self.columns = columns

    def fit(self, task: Task) -> LastValue:
        """Take the horizon from the task."""
        assert isinstance(task.objective, Forecast)
        self.horizon = task.objective.horizon
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        return window_of(batch)[:, -1:, self.columns].expand(-1, self.horizon, -1).flatten(1)


class WindowMean(LastValue):
    """Predict the mean of the window for the whole horizon."""

    def __init__(self, columns: list[int]) -> None:
        super().__init__(columns)
        self.name, self.description = "window mean", "repeats the mean of the values seen"

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        mean = window_of(batch)[:, :, self.columns].mean(1, keepdim=True)
        return mean.expand(-1, self.horizon, -1).flatten(1)


class SeasonalNaive(LastValue):
    """Predict the last season of the window, repeated."""

    def __init__(self, columns: list[int], season: int) -> None:
        super().__init__(columns)
        self.season = season
        self.name, self.description = "seasonal naive", f"repeats the last {season} values seen"

    def predict(self, batch: Batch) -> Tensor:
        """Return values ``(B, horizon * num_variates)``."""
        last = window_of(batch)[:, -self.season :, self.columns]
        steps = torch.arange(self.horizon, device=last.device) % self.season
        return last[:, steps].flatten(1)


class FittedReference(Reference):
    """A model of scikit-learn, by default a linear one, its penalty chosen by the validation split."""

    penalties: tuple[float, ...] = (0.01, 1.0, 100.0)
    samples: int = FIT_SAMPLES
    """The most samples that it is fitted on."""
    valid_items: int | None = None
    """Validation samples by which the penalty is chosen; None for all."""

    @abstractmethod
    def features(self, batch: Batch) -> Any:
        """Return the batch as a matrix ``(B, features)``, dense or sparse."""

    def fit(self, task: Task) -> FittedReference:
        """Fit one model for each penalty and keep the best on the validation split."""
        x, targets = self.sampled(task)
        y = targets
        unknown = np.isnan(targets)
        if unknown.any():
            y = np.where(
                unknown, np.where(unknown, 0, targets).sum(0) / np.maximum((~unknown).sum(0), 1), targets
            )
            whole = ~unknown.any(1)
            if whole.mean() >= 0.5:  # otherwise keep all samples, with means for unknown targets
                x, y = x[whole], y[whole]
        self.objective = task.objective
        fitted = []
        for penalty in self.penalties:
            self.model = self._fit_one(x, y, penalty)
            score = task.metric.info.sign * score_reference(self, task, "valid", items=self.valid_items)
            fitted.append((-np.inf if np.isnan(score) else score, self.model))
        self.model = max(fitted, key=lambda pair: pair[0])[1]
        self.parameters = weights_in(self.model)
        return self

    def sampled(self, task: Task) -> tuple[Any, np.ndarray]:
        """Return the features and the targets ``(B, M)`` of the training samples that it is fitted on."""
        batch = task.train_sample(self.samples)
        return self.features(batch), batch.targets.numpy().reshape(len(batch), -1)

    def _fit_one(self, x: Any, y: np.ndarray, penalty: float) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression, Ridge

        if isinstance(self.objective, Labels):
            return one_for_each(LogisticRegression(C=1 / penalty, max_iter=100, tol=1e-3), x, y)
        if not isinstance(self.objective, Classify):
            return Ridge(alpha=penalty).fit(x, y)
        if len(np.unique(y)) == 1:
            return int(y[0, 0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is one more form of penalty
            return LogisticRegression(C=1 / penalty, max_iter=100, tol=1e-3).fit(x, y[:, 0])

    def predict(self, batch: Batch) -> Tensor:
        """Return logits or values ``(B, num_outputs)``."""
        x = self.features(batch)
        if isinstance(self.objective, Labels):
            return log_odds(probabilities(self.model, x, self.objective.num_labels))
        if not isinstance(self.objective, Classify):
            return torch.from_numpy(np.asarray(self.model.predict(x)).reshape(len(batch), -1)).float()
        logits = torch.full((len(batch), self.objective.num_classes), -30.0)  # a class never trained on
        if isinstance(self.model, int):
            logits[:, self.model] = 0
        else:
            known = torch.from_numpy(self.model.classes_.astype(np.int64))
            logits[:, known] = torch.from_numpy(np.log(self.model.predict_proba(x) + 1e-12)).float()
        return logits


def weights_in(model: Any) -> int | None:
    """Return the number of weights of a linear model of scikit-learn; None of another model."""
    parts = getattr(model, "estimators_", [model])
    if not all(hasattr(part, "coef_") for part in parts):
        return None
    return sum(np.size(part.coef_) + np.size(part.intercept_) for part in parts)


class FlatLinear(FittedReference):
    """Ridge or logistic regression on the flattened sequence."""

    def __init__(self) -> None:
        super().__init__("linear", "a linear model on all values of the sequence, penalty by validation")

    def features(self, batch: Batch) -> np.ndarray:
        """Return all values ``(B, T * F)`` float64, zeros where masked."""
        x = batch.x if batch.mask is None else batch.x * batch.mask[..., None]
        return x.flatten(1).numpy().astype(np.float64)


class FieldLinear(FittedReference):
    """Ridge or logistic regression on numbers, laid flat, and on hashed counts of categories."""

    def __init__(self) -> None:
        super().__init__(
            "linear", "a linear model on all numbers and counts of categories, penalty by validation"
        )

    def features(self, batch: Batch) -> sparse.csr_matrix:
        """Return the numbers, zeros where masked, and each category's counts of 1- to 3-grams: ``(B, features)``."""
        assert not isinstance(batch.inputs, Tensor)
        found = []
        for value in batch.inputs.values():
            if value.is_floating_point():
                x = value if batch.mask is None else value * batch.mask[..., None]
                found.append(sparse.csr_matrix(x.flatten(1).numpy().astype(np.float64)))
            else:
                codes = value if value.dim() == 2 else value[:, None]
                found.append(hashed_counts(codes, batch.mask if value.dim() == 2 else None))
        return sparse.hstack(found, format="csr")


class NGramLinear(FittedReference):
    """Ridge or logistic regression on hashed counts of 1-, 2- and 3-grams of tokens."""

    def __init__(self) -> None:
        super().__init__("linear", "a linear model on counts of 1- to 3-grams, penalty by validation")

    def features(self, batch: Batch) -> sparse.csr_matrix:
        """Return ``log(1 + count)`` of each bucket ``(B, BUCKETS)``, rows of unit length."""
        return hashed_counts(batch.x, batch.mask)


def hashed_counts(tokens: Tensor, mask: Tensor | None) -> sparse.csr_matrix:
    """Return ``log(1 + count)`` of hashed 1- to 3-grams of tokens ``(B, T)``: ``(B, BUCKETS)``, rows of unit length."""
    x = tokens.numpy()
    real = np.ones_like(x, bool) if mask is None else mask.numpy()
    rows, buckets = [], []
    codes, known = np.zeros_like(x), np.ones_like(real)
    for n in range(1, 4):
        if n > x.shape[1]:
            break
        tail = slice(n - 1, None)
        codes = codes[:, : x.shape[1] - n + 1] * 65_599 + x[:, tail] + n
        known = known[:, : x.shape[1] - n + 1] & real[:, tail]
        row, _ = np.nonzero(known)
        rows.append(row)
        buckets.append((codes[known] * 2_654_435_761 >> 7) % BUCKETS)
    row, bucket = np.concatenate(rows), np.concatenate(buckets)
    return counted(row, bucket, len(x))


def counted(row: np.ndarray, bucket: np.ndarray, rows: int) -> sparse.csr_matrix:
    """Return ``log(1 + count)`` of each bucket in each row: ``(rows, BUCKETS)``, rows of unit length."""
    counts = sparse.coo_matrix((np.ones(len(row)), (row, bucket)), shape=(rows, BUCKETS)).tocsr()
    counts.data = np.log1p(counts.data)
    norm = np.sqrt(np.asarray(counts.multiply(counts).sum(1))).clip(1e-12)
    return sparse.csr_matrix(counts.multiply(1 / norm))


def references_for(task: Task) -> list[Reference]:
    """Return the predictors for tasks with one class, or numbers, for each sequence."""
    constant: Reference = Median() if isinstance(task.objective, Regress) else Majority()
    if isinstance(task.objective, Labels):
        constant = LabelShares()
    if task.stream is not None:
        return [constant, FieldLinear()]
    return [constant, FlatLinear() if task.num_features else NGramLinear()]
