"""Laws of what is asked: a loss, a metric, references, and answers for new data."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from anyformer.laws.case import LawBroken
from anyformer.laws.measures import close
from anyformer.laws.registry import register_task_law
from anyformer.laws.tasks.cases import BATCH, MOST, TaskCase, real, relabelled, same
from anyformer.tasks import Batch
from anyformer.tasks.base import SPLITS
from anyformer.tasks.readers import load_encoding
from anyformer.train import TrainConfig, Trainer, model_for
from anyformer.train.bundle import Bundle

MODEL = "hgrn2 dim=16 depth=1"
"""A small model that reads every kind of data."""
STEPS = 16
"""Batches of all splits that are looked at."""


@register_task_law("training")
def training(case: TaskCase) -> bool:
    """A small model trains on it with finite losses and gradients, and is measured on validation and test data."""
    task = case.task
    model = model_for(task, MODEL)
    trainer = Trainer(model, task, TrainConfig(steps=3, batch_size=BATCH), device="cpu")
    trainer.run()
    for name, p in model.named_parameters():
        if not bool(p.isfinite().all()):
            raise LawBroken(f"parameter {name} of {MODEL} is not finite after three steps")
    for split in SPLITS[1:]:
        found = trainer.evaluate(split, items=MOST, with_loss=True)
        if len(found) != min(MOST, task.size(split)):
            raise LawBroken(f"the metric is of {len(found)} samples of {split}")
        if found.loss is None or not math.isfinite(found.loss):
            raise LawBroken(f"the loss on {split} is {found.loss}")
    return True


@register_task_law("training on all data")
def training_on_all_data(case: TaskCase) -> bool:
    """A small model trains on the samples of all splits with finite losses; a step has the same batch at every call."""
    task = case.task
    if task.endless:
        return False
    drawn = [task.batch_of_all(step, BATCH) for step in range(STEPS)]
    others = [step for step in range(STEPS) if not _alike(drawn[step], task.train_batch(step, BATCH))]
    if not others:
        raise LawBroken(f"the batches of the first {STEPS} steps are those of training on the train split")
    for step in (others[-1], others[0]):
        same(f"the batch of step {step} on all data once more", task.batch_of_all(step, BATCH), drawn[step])
    model = model_for(task, MODEL)
    config = TrainConfig(steps=len(others), batch_size=BATCH)
    Trainer(model, task, config, device="cpu", batches=lambda step, _: drawn[others[step]]).run()
    for name, p in model.named_parameters():
        if not bool(p.isfinite().all()):
            raise LawBroken(
                f"parameter {name} of {MODEL} is not finite after {len(others)} steps on all data"
            )
    return True


def _alike(one: Batch, other: Batch) -> bool:
    try:
        same("", one, other)
    except LawBroken:
        return False
    return True


@register_task_law("references")
@torch.no_grad()
def references(case: TaskCase) -> bool:
    """References do not look at the targets, nor at other samples of the batch; their predictions are finite.

    Of one that is excused from that, as it is a yardstick and predicts nothing, shares of the answers add up to 1.
    """
    task, some = case.task, [batch for _, batch in case.batches("test")][:2]
    if not task.references():
        raise LawBroken("there is no reference: at least a constant should stand beside models")
    for reference in task.references():
        fitted, name = reference.fit(task), reference.name
        for batch in some:
            found = fitted.predict(batch)
            if not bool(found.isfinite().all()):
                raise LawBroken(f"predictions of {name!r} are not finite")
            if len(found) != len(batch):
                raise LawBroken(f"{name!r} makes {len(found)} predictions for {len(batch)} samples")
            if "references" in fitted.exceptions:
                total = found.logsumexp(-1)
                close(f"logarithms of the sums of shares of {name!r}", total, torch.zeros_like(total), 1e-4)
                continue
            close(
                f"predictions of {name!r} for other targets",
                fitted.predict(relabelled(batch, task)),
                found,
                1e-6,
            )
            for row in range(len(batch)):
                one = slice(row, row + 1)
                close(
                    f"predictions of {name!r} for a sample alone",
                    fitted.predict(batch[one]),
                    found[one],
                    1e-5,
                )
    return True


@register_task_law("encoding")
def encoding(case: TaskCase) -> bool:
    """The encoding of new data is saved as JSON, and loaded without a change."""
    held = case.task.encoding
    if held is None:
        return False
    again = load_encoding(held.model_dump(mode="json", exclude_none=True))
    if again != held:
        changed = [
            name for name in type(held).model_fields if getattr(again, name, None) != getattr(held, name)
        ]
        raise LawBroken(f"{', '.join(changed)} of the encoding is another after it was saved as JSON")
    return True


@register_task_law("new data")
def new_data(case: TaskCase) -> bool:
    """The file that the task was made from, read as new data, gives the same inputs, and an answer to each; answers do
    not depend on the size of batches."""
    task = case.task
    if task.encoding is None or case.path is None:
        return False
    unseen = task.encoding.read(case.path)
    if sum(task.size(split) for split in SPLITS) == len(unseen.batch) and unseen.batch.elements is None:
        _finds_samples(case, unseen.batch)  # each row, group or file is a sample
    model = model_for(task, MODEL).eval()
    bundle = Bundle(case.path, model, {}, task.encoding)
    table, again = (bundle.predict(case.path, batch_size=size).table for size in (BATCH, 3 * BATCH))
    if not len(table):
        raise LawBroken("there are no answers")
    if len(set(table.columns)) < len(table.columns):
        raise LawBroken(f"two columns of the answers have one name: {list(table.columns)}")
    for name in table:
        ours, theirs = table[name], again[name]
        same = (
            np.allclose(ours, theirs, rtol=1e-3, atol=1e-6, equal_nan=True)
            if pd.api.types.is_float_dtype(ours)
            else ours.equals(theirs)
        )
        if not same:
            raise LawBroken(f"answers in {name!r} depend on the size of batches")
    return True


def _finds_samples(case: TaskCase, read: Batch) -> None:
    """Check that the inputs of some samples of each split are among those that were read as new data."""
    known = {_key(read, row) for row in range(len(read))}
    for split in SPLITS:
        for index, batch in case.batches(split):
            for row, place in enumerate(index):
                if _key(batch, row) not in known:
                    raise LawBroken(
                        f"the inputs of sample {place} of {split} are none of those read as new data"
                    )


def _key(batch: Batch, row: int) -> tuple[bytes, ...]:
    """The inputs of a sample: its source, which the answer continues, if it has one."""
    given = batch if batch.source is None else Batch(batch.source.inputs, batch.targets, batch.source.mask)
    return tuple(value.contiguous().numpy().tobytes() for value in real(given, row).values())
