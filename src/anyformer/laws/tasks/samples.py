"""Laws of samples: what is drawn, when, and beside what."""

from __future__ import annotations

import json

import numpy as np

from anyformer.laws.case import LawBroken
from anyformer.laws.registry import register_task_law
from anyformer.laws.tasks.cases import BATCH, TaskCase, equal, real, same, tensors
from anyformer.tasks.base import SPLITS


@register_task_law("same batches")
def same_batches(case: TaskCase) -> bool:
    """A training step has the same batch at every call, in any order, and in a task made again from the same data."""
    task, other = case.task, case.make()
    first = [task.train_batch(step, BATCH) for step in range(4)]
    for step in (3, 0, 2, 1):
        same(f"the batch of step {step} once more", task.train_batch(step, BATCH), first[step])
        same(f"the batch of step {step} of a task made again", other.train_batch(step, BATCH), first[step])
    for split in SPLITS:
        for (index, batch), (_, again) in zip(
            case.batches(split), TaskCase(case.label, lambda: other).batches(split), strict=True
        ):
            same(f"samples {index.tolist()} of {split} of a task made again", again, batch)
    return True


@register_task_law("splits")
def splits(case: TaskCase) -> bool:
    """Each split has samples; parts of it are subsets of larger ones; each sample has a cluster; facts are JSON."""
    task = case.task
    json.dumps([task.describe(), task.notes()])
    for split in SPLITS:
        size = task.size(split)
        if size < 1:
            raise LawBroken(f"the {split} split has {size} samples")
        few, many = (task.subset(split, count) for count in (3, 9))
        if len(np.unique(many)) < len(many) or not set(few) <= set(many) or many.max() >= size:
            raise LawBroken(f"parts of the {split} split are {few} and {many} of {size} samples")
        if (shape := task.clusters(split).shape) != (size,):
            raise LawBroken(f"the {split} split has {size} samples, and clusters of shape {shape}")
    return True


@register_task_law("alone")
def alone(case: TaskCase) -> bool:
    """A sample's inputs and targets do not depend on the samples beside it in a batch."""
    task = case.task
    for split in SPLITS:
        for index, batch in case.batches(split):
            for row, place in enumerate(index):
                (one,) = task.eval_batches(split, 1, index=np.array([place]))
                if batch.elements is None:
                    ours, theirs = real(batch, row), real(one, 0)
                    for name, value in ours.items():
                        if not equal(value, theirs[name]):
                            raise LawBroken(f"sample {place} of {split}: {name} is another one in a batch")
                if batch.elements is not None or batch.asked is None:
                    if not equal(batch.targets[row], one.targets[0]):
                        raise LawBroken(f"sample {place} of {split}: the target is another one in a batch")
                    continue
                asked, mine = batch.asked, one.asked
                assert mine is not None
                if not equal(batch.targets[row][asked[row]], one.targets[0][mine[0]]):
                    raise LawBroken(f"sample {place} of {split}: targets are others in a batch")
    return True


@register_task_law("training part")
def training_part(case: TaskCase) -> bool:
    """Other values in the test part change no batch of training, and nothing that is kept to encode new data."""
    if case.changed is None:
        return False
    task, other = case.task, case.changed()
    for step in range(4):
        same(f"the batch of step {step}", other.train_batch(step, BATCH), task.train_batch(step, BATCH))
    if other.encoding != task.encoding:
        raise LawBroken("the encoding of new data is fitted to the test part too")
    moved = any(
        not all(equal(a, tensors(theirs)[name]) for name, a in tensors(ours).items())
        for (_, ours), (_, theirs) in zip(
            case.batches("test"), TaskCase(case.label, lambda: other).batches("test"), strict=True
        )
        if tensors(ours).keys() == tensors(theirs).keys()
    )
    if not moved:
        raise LawBroken("changed makes a task with the same samples in test: it shows nothing")
    return True
