"""The metric over a split, sample by sample, for models and for references alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anyformer.heads import Head
from anyformer.metrics import Metric

if TYPE_CHECKING:
    from anyformer.tasks.base import Split, Task
    from anyformer.tasks.batch import Batch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A metric over samples of a split.

    Attributes:
        metric: the metric.
        items: ``(N, K)`` float64: the metric's statistics of each sample.
        clusters: ``(N,)`` integers: samples of one cluster are not independent.
        loss: the mean loss, if ``with_loss``.
    """

    metric: Metric
    items: np.ndarray
    clusters: np.ndarray
    loss: float | None = None

    @cached_property
    def value(self) -> float:
        """The metric; NaN where it has no value."""
        return float(self.metric.value(self.items))

    def __len__(self) -> int:
        return len(self.items)


@torch.no_grad()
def evaluate(
    predict: Callable[[Batch], Tensor],
    task: Task,
    split: Split,
    *,
    batch_size: int,
    items: int | None = None,
    length: int | None = None,
    device: torch.device | str = "cpu",
    with_loss: bool = False,
    head: Head | None = None,
) -> Evaluation:
    """Evaluate the task's metric over a split, or over a representative part of it.

    Args:
        predict: the outputs of a model for a batch.
        task: gives the metric and the data.
        split: which split.
        batch_size: samples at a time; no score depends on it.
        items: number of samples, see :meth:`anyformer.tasks.Task.subset`; by default all.
        length: a length other than the trained one.
        device: where batches are put.
        with_loss: also compute the loss, of the head or else of the task's objective.
        head: turns the outputs into answers; without one they are the answers.
    """
    index = task.subset(split, items, length=length)
    items_of_batches, losses = [], []
    for batch in task.eval_batches(split, batch_size, length=length, index=index):
        batch = batch.to(device)
        outputs = predict(batch)
        answers = batch.allowed(outputs if head is None else head.answer(outputs, batch.asked))
        items_of_batches.append(task.metric.measure(answers, batch.target))
        if with_loss:
            if head is None:
                sums, counts = task.objective.loss_items(outputs, batch.targets)
            else:
                sums, counts = head.loss_items(outputs, batch.targets, task.objective)
            losses.append((float(sums.sum()), int(counts.sum())))
    count = sum(n for _, n in losses)
    return Evaluation(
        metric=task.metric,
        items=np.concatenate(items_of_batches),
        clusters=task.clusters(split, length=length)[index],
        loss=(sum(part for part, _ in losses) / count if count else float("nan")) if with_loss else None,
    )


@torch.no_grad()
def evaluate_beside(
    predict: Callable[[Batch], Tensor],
    decode: Callable[[Batch], Tensor | None],
    task: Task,
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Evaluate the metrics beside the task's own on the same test samples for all, and return them by name.

    Args:
        predict: the outputs of a model for a batch.
        decode: what it writes for a batch, see :meth:`anyformer.tasks.Task.decode`; None leaves these metrics out.
        task: gives the metrics and the data.
        batch_size: samples at a time.
        device: where batches are put.
    """
    found: dict[str, list[np.ndarray]] = {}
    index = task.subset("test", task.beside_items) if task.beside else np.empty(0, np.int64)
    for batch in task.eval_batches("test", batch_size, index=index):
        batch = batch.to(device)
        decoded = decode(batch) if any(metric.decodes for metric in task.beside) else None
        outputs = batch.allowed(predict(batch))
        for metric in task.beside:
            told = decoded if metric.decodes else outputs
            if told is not None:
                found.setdefault(metric.info.name, []).append(metric.measure(told, batch.target))
    values = {metric.info.name: metric.value for metric in task.beside}
    return {name: float(values[name](np.concatenate(items))) for name, items in found.items()}
