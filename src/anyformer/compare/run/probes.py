"""Changed inputs for a trained model: shuffled, cut, with exchanged variates or without a trend.

What a change costs tells what the model uses of the data, and so what data like it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from anyformer.models import SequenceModel
from anyformer.precision import widen
from anyformer.questions import IGNORED
from anyformer.schema import Stream, Values
from anyformer.tasks import Batch, Evaluation, Task
from anyformer.train.models import outputs_of

Kind = Literal["whole", "order", "context", "variates", "trend"]
MOST_VARIATES = 8
"""The most variates that are exchanged one at a time."""
SHORTEST = 4
"""The fewest elements of a sample whose order is worth asking about."""


@dataclass(frozen=True)
class Probe:
    """A change of a batch.

    Attributes:
        kind: what it asks; ``"whole"`` changes nothing but which targets are asked.
        detail: the elements that are kept, or the variate that is exchanged.
        change: returns the changed batch, and what is added to the model's outputs.
    """

    kind: Kind
    detail: str
    change: Callable[[Batch], tuple[Batch, Tensor | float]]


def probes_for(task: Task, model: SequenceModel) -> list[Probe]:
    """Return the probes that say something about a task, the unchanged data first; none for sets, grids and pairs."""
    stream = task.stream
    shape = "sequence" if stream is None else stream.shape
    forecast = task.question.place == "ahead"
    if shape not in ("sequence", "record") or task.of_elements or model.body.info.required:
        return []
    if not forecast and (task.source is not None or (task.question.place == "each" and task.sees_whole)):
        return []
    found = [Probe("whole", "", lambda batch: (_asked_last(batch), 0.0))]
    length = task.source_length or task.train_length
    if shape == "sequence" and length >= SHORTEST:
        found.append(Probe("order", "", lambda batch: (_shuffled(_asked_last(batch), task.seed), 0.0)))
        cut = _cut if model.sites is None else _held
        found += [Probe("context", str(kept), _cutting(cut, kept)) for kept in _distances(length)]
    found += _exchanges(task)
    numbers = task.question.kind == "number" and task.num_features is not None
    if task.target_channels and numbers and task.source is None:
        found.append(Probe("trend", "", lambda batch: _without_line(batch, task.target_channels)))
    return found


def evaluate_probe(probe: Probe, task: Task, model: SequenceModel, items: int, batch_size: int) -> Evaluation:
    """Return the metric over so many test samples that a probe has changed."""
    index, measured = task.subset("test", items), []
    with torch.no_grad():
        for batch in task.eval_batches("test", batch_size, index=index):
            changed, added = probe.change(batch)
            outputs = widen(outputs_of(model, changed)) + added
            answers = changed.allowed(model.head.answer(outputs, changed.asked))
            measured.append(task.metric.measure(answers, changed.target))
    return Evaluation(task.metric, np.concatenate(measured), task.clusters("test")[index])


def _distances(length: int) -> Iterator[int]:
    kept = 1 << (length - 1).bit_length() - 1
    while kept >= 1:
        yield kept
        kept //= 4 if kept > 4 else 2


def _asked_last(batch: Batch) -> Batch:
    """Return the batch with the last of its asked elements alone, where it asks about several."""
    asked = batch.asked
    if asked is None:
        return batch
    order = torch.arange(asked.shape[1])
    last = torch.where(asked, order, -1).amax(1, keepdim=True)
    return replace(batch, targets=torch.where(order == last, batch.targets, IGNORED))


def _real(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the elements of a batch that its last answer may read, ``(B, T)`` bool, and the number of the last one."""
    stream = batch.source or Stream(batch.inputs, batch.mask)
    first = stream.inputs if isinstance(stream.inputs, Tensor) else next(iter(stream.inputs.values()))
    B, T = first.shape[:2]
    real = torch.ones(B, T, dtype=torch.bool) if stream.mask is None else stream.mask > 0
    order = torch.arange(T)
    last = torch.where(real, order, 0).amax(1)
    if batch.asked is not None and batch.source is None:
        place = torch.where(batch.asked, torch.arange(batch.asked.shape[1]), 0).amax(1)
        last = place if batch.at is None else batch.at.gather(1, place[:, None])[:, 0]
    return real & (order <= last[:, None]), last


def _shuffled(batch: Batch, seed: int) -> Batch:
    """Return the batch with its elements in another order; one that tells the next stays where it is."""
    real, last = _real(batch)
    T = real.shape[1]
    free = real if batch.asked is None else real & (torch.arange(T) != last[:, None])
    keys = torch.rand(real.shape, generator=torch.Generator().manual_seed(seed))
    behind = torch.arange(T).expand_as(keys) + 2.0
    order = torch.where(free, keys, behind).argsort(1)  # the free ones, at random, then the others
    places = torch.where(free, behind - 2 - T, behind).argsort(1)  # the same in their order
    take = torch.empty_like(order).scatter_(1, places, order)
    rows = torch.arange(len(take))[:, None]
    return _on_sequence(batch, lambda value: value[rows, take])


def _cut(batch: Batch, kept: int) -> Batch:
    """Return the batch with the last so many elements alone, the others masked."""
    real, _ = _real(batch)
    behind = real.flip(1).cumsum(1).flip(1)
    mask = real & (behind <= kept)
    if batch.source is not None:
        return replace(batch, source=replace(batch.source, mask=mask))
    return replace(batch, mask=mask)


def _held(batch: Batch, kept: int) -> Batch:
    """Return the batch with the last so many elements, and the oldest of them in place of those before.

    For models that read windows whole, which take no mask.
    """
    x = batch.x.clone()
    x[:, :-kept] = x[:, -kept, None]
    return replace(batch, inputs=x)


def _cutting(cut: Callable[[Batch, int], Batch], kept: int) -> Callable[[Batch], tuple[Batch, float]]:
    return lambda batch: (cut(_asked_last(batch), kept), 0.0)


def _on_sequence(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with the elements of its source, or else of its inputs, changed."""
    if batch.source is not None:
        return replace(batch, source=replace(batch.source, inputs=tree_map(change, batch.source.inputs)))
    return replace(batch, inputs=tree_map(change, batch.inputs))


def _exchanges(task: Task) -> list[Probe]:
    """Return the probes that exchange variates between samples: those that are not forecast, or one at a time."""
    if task.target_channels:
        others = list(task.other_channels)
        return [Probe("variates", "the other columns", _exchange_channels(others))] if others else []
    if task.vocab_size is not None or task.source is not None or task.question.place != "whole":
        return []
    if task.num_features is not None:
        if task.num_features == 1:
            return []
        channels = range(min(task.num_features, MOST_VARIATES))
        return [Probe("variates", f"variate {c + 1}", _exchange_channels([c])) for c in channels]
    assert task.stream is not None
    names = task.stream.names[:MOST_VARIATES] if len(task.stream.names) > 1 else []
    return [Probe("variates", name, _exchange_field(name)) for name in names]


def _exchange_channels(channels: list[int]) -> Callable[[Batch], tuple[Batch, float]]:
    def change(batch: Batch) -> tuple[Batch, float]:
        x = batch.x.clone()
        x[..., channels] = _moved(x)[..., channels]
        return replace(batch, inputs=x), 0.0

    return change


def _exchange_field(name: str) -> Callable[[Batch], tuple[Batch, float]]:
    def change(batch: Batch) -> tuple[Batch, float]:
        assert isinstance(batch.inputs, Mapping)
        inputs: Values = {**batch.inputs, name: _moved(batch.inputs[name])}
        return replace(batch, inputs=inputs), 0.0

    return change


def _moved(value: Tensor) -> Tensor:
    """Return values of other samples of the batch, far from each, as neighbours may be alike."""
    return value.roll(max(1, len(value) // 2), 0)


def _without_line(batch: Batch, channels: tuple[int, ...]) -> tuple[Batch, Tensor]:
    """Return the batch without the straight line through each window, and that line in the steps ahead."""
    x = batch.x.clone()
    T, horizon = x.shape[1], batch.targets.shape[1]
    time = torch.arange(T + horizon, dtype=x.dtype) - (T - 1) / 2
    past = x[..., list(channels)]
    slope = (time[:T, None] * past).sum(1, keepdim=True) / time[:T].square().sum()
    x[..., list(channels)] = past - time[:T, None] * slope
    ahead = time[T:, None] * slope  # (B, horizon, targets)
    return replace(batch, inputs=x), ahead.flatten(1)
