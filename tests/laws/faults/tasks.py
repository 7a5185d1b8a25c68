"""Damages to tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyformer.laws.faults import breaks_task
from anyformer.tasks import Batch, Reference, Split, Task


def taking(task: Task, change: Callable[[Batch, Split, np.ndarray], Batch]) -> None:
    """Change every batch of a task."""
    take = task._take
    task._take = lambda split, index, length: change(take(split, index, length), split, index)  # type: ignore[method-assign]


def shifted(batch: Batch, by: float | Tensor) -> Batch:
    """Add to all numbers of a batch."""
    assert isinstance(batch.inputs, dict)
    inputs = {name: v + by if v.is_floating_point() else v for name, v in batch.inputs.items()}
    return replace(batch, inputs=inputs)


@breaks_task("same batches", "the batch of step 3 once more: .* differs")
def draws_anew(task: Task) -> None:
    """Draws noise at every call."""
    taking(task, lambda batch, split, index: shifted(batch, float(torch.rand(()))))


@breaks_task("same batches", "of a task made again: .* differs")
def draws_once(task: Task) -> None:
    """Draws noise when it is made, without a seed."""
    noise = float(torch.rand(()))
    taking(task, lambda batch, split, index: shifted(batch, noise))


@breaks_task("splits", "the valid split has 0 samples")
def no_validation(task: Task) -> None:
    """Has no sample to validate on."""
    size = task.size
    task.size = lambda split, length=None: 0 if split == "valid" else size(split, length)  # type: ignore[method-assign]


@breaks_task("splits", "samples, and clusters of shape")
def clusters_of_others(task: Task) -> None:
    """Gives clusters for a part of its samples."""
    task._clusters = lambda split, length: np.arange(3)  # type: ignore[method-assign]


@breaks_task("alone", "is another one in a batch")
def normalised_by_batch(task: Task) -> None:
    """Takes the mean of each batch away."""

    def change(batch: Batch, split: Split, index: np.ndarray) -> Batch:
        assert isinstance(batch.inputs, dict)
        return shifted(batch, -batch.inputs["a"].mean())

    taking(task, change)


@breaks_task("training part", "the batch of step 0")
def fitted_to_all(task: Task) -> None:
    """Divides by the largest number of the test part."""
    batches = task.eval_batches("test", 256)
    most = max(float(batch.inputs["a"].abs().max()) for batch in batches if isinstance(batch.inputs, dict))
    taking(task, lambda batch, split, index: shifted(batch, most))


@breaks_task("training", "the metric is of 0 samples|the loss on valid is nan")
def asks_nothing(task: Task) -> None:
    """Has no target outside training."""
    taking(
        task,
        lambda batch, split, index: (
            batch if split == "train" else replace(batch, targets=torch.full_like(batch.targets, -100))
        ),
    )


@breaks_task(
    "training on all data", "the batches of the first 16 steps are those of training on the train split"
)
def keeps_to_its_train_split(task: Task) -> None:
    """Trains on the train split alone where all data is asked for."""
    task.batch_of_all = task.train_batch  # type: ignore[method-assign]


class _Cheat(Reference):
    """Reads its predictions off the targets."""

    def predict(self, batch: Batch) -> Tensor:
        return torch.nn.functional.one_hot(batch.targets, 2).double()


class _Neighbours(Reference):
    """Compares the samples of a batch with each other."""

    def predict(self, batch: Batch) -> Tensor:
        assert isinstance(batch.inputs, dict)
        x = batch.inputs["a"].double()
        return torch.cat([x - x.mean(), x], -1)


@breaks_task("references", "predictions of 'cheat' for other targets")
def a_reference_that_looks(task: Task) -> None:
    """Has a reference that knows the answers."""
    task.references = lambda: [_Cheat("cheat", "")]  # type: ignore[method-assign]


@breaks_task("references", "predictions of 'neighbours' for a sample alone")
def a_reference_of_batches(task: Task) -> None:
    """Has a reference whose predictions depend on the batch."""
    task.references = lambda: [_Neighbours("neighbours", "")]  # type: ignore[method-assign]


@breaks_task("references", "there is no reference")
def no_reference(task: Task) -> None:
    """Has nothing to beat."""
    task.references = list  # type: ignore[method-assign, assignment]


@breaks_task("encoding", "classes of the encoding is another after it was saved")
def forgets_its_classes(task: Task) -> None:
    """Saves all that it knows of the data but the classes."""
    assert task.encoding is not None

    class Forgets(type(task.encoding)):  # type: ignore[misc]
        def model_dump(self, **more: Any) -> dict[str, Any]:
            return {name: value for name, value in super().model_dump(**more).items() if name != "classes"}

    other = Forgets.model_validate(task.encoding.model_dump())
    task.__class__ = type("Forgetful", (type(task),), {"encoding": property(lambda self: other)})


@breaks_task("new data", "the inputs of sample .* are none of those read as new data")
def encodes_otherwise(task: Task) -> None:
    """Trains on other numbers than it reads in new data."""
    taking(task, lambda batch, split, index: shifted(batch, 1.0))
