"""A task under test, made from data as often as a law needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path

from anyformer.laws.case import LawBroken
from anyformer.tasks import Batch, Split, Task

MOST = 24
"""Samples of a split that are looked at one by one."""
BATCH = 4
"""Samples of a batch."""


@dataclass(frozen=True, eq=False)
class TaskCase:
    """A way to make a task.

    Attributes:
        label: its name in tables.
        make: makes the task, anew at each call.
        path: the file or folder that it is made from, if new data has the same form.
        changed: makes it from the same data with other values, of the same lengths, in the test part only; None if that
            is not possible.
    """

    label: str
    make: Callable[[], Task]
    path: Path | None = None
    changed: Callable[[], Task] | None = None

    @cached_property
    def task(self) -> Task:
        """The task, made once; laws leave it as it is."""
        return self.make()

    def some(self, split: Split) -> np.ndarray:
        """Return the indices of at most ``MOST`` samples of a split."""
        return self.task.subset(split, MOST)

    def batches(self, split: Split) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield some samples of a split in batches of ``BATCH``, with their indices."""
        index = self.some(split)
        for start, batch in enumerate(self.task.eval_batches(split, BATCH, index=index)):
            yield index[start * BATCH : (start + 1) * BATCH], batch


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Return the tensors of a batch by their places in it."""
    held = {name: value for name, value in vars(batch).items() if value is not None}
    if batch.source is not None:
        held["source"] = dict(vars(batch.source))
    leaves = tree_flatten_with_path(held)[0]
    return {"".join(map(str, path)): leaf for path, leaf in leaves if isinstance(leaf, Tensor)}


def same(what: str, got: Batch, expected: Batch) -> None:
    """Raise ``LawBroken`` unless two batches hold the same tensors, NaN for NaN."""
    ours, theirs = tensors(got), tensors(expected)
    if ours.keys() != theirs.keys():
        raise LawBroken(f"{what}: holds {sorted(ours)} and not {sorted(theirs)}")
    for name, value in ours.items():
        if not equal(value, theirs[name]):
            raise LawBroken(f"{what}: {name} differs")


def equal(a: Tensor, b: Tensor) -> bool:
    """True if two tensors are equal in shape, dtype and all values, NaN to NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    same = a == b
    return bool((same | (a != a) & (b != b)).all())


def real(batch: Batch, row: int) -> dict[str, Tensor]:
    """Return the inputs of one sample of a batch, without padding."""
    fields: Any = {"inputs": batch.inputs} if isinstance(batch.inputs, Tensor) else dict(batch.inputs)
    mask = None if batch.mask is None else batch.mask[row]
    return {name: value[row] if mask is None else value[row][mask] for name, value in fields.items()}


def relabelled(batch: Batch, task: Task) -> Batch:
    """Return the batch with other answers, asked for at the same places."""
    if task.question.kind == "labels":
        targets = 1 - batch.targets
    elif batch.targets.is_floating_point():
        targets = batch.targets + 1
    else:
        count = task.question.num_classes
        targets = torch.where(batch.targets >= 0, (batch.targets + 1) % max(count, 1), batch.targets)
    return Batch(**{**vars(batch), "targets": targets})
