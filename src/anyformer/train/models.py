"""Models for tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call
from anyformer.embed import Embedder, embedder_info
from anyformer.heads import head_class
from anyformer.models import ModelSpec, SequenceModel, load_spec
from anyformer.models.both_ways import both_ways, without_order
from anyformer.models.load import leaves_out
from anyformer.models.recent import numbered, numbers_of
from anyformer.tasks import Batch, Split, Task

FITTED = (32, 512)
"""Fewest and most training samples that an embedder is fitted on."""


def io_for(task: Task) -> dict[str, Any]:
    """Return the arguments of :class:`SequenceModel` for the task's inputs and outputs."""
    return {
        "vocab_size": task.vocab_size,
        "num_features": task.num_features,
        "num_outputs": task.objective.num_outputs,
        "pool": None if task.of_elements else task.objective.pool,
        "stream": None if task.stream is None else task.stream.model_dump(exclude_none=True),
        "source": None if task.source is None else task.source.model_dump(exclude_none=True),
        "window": None if task.window is None else task.window.model_dump(),
    }


def spec_for(
    task: Task, spec: ModelSpec | Mapping[str, Any] | str | Path, *, trust_code: bool = False, **changes: Any
) -> ModelSpec:
    """Load a spec, and fill what it leaves unsaid by the task.

    These are its direction, the grid of a named model, and no positions where elements have no order.

    Args:
        spec, trust_code, changes: arguments of :func:`anyformer.models.load_spec`.
    """
    loaded = load_spec(spec, trust_code=trust_code, **changes)
    if task.stream is not None and task.stream.shape == "set":
        loaded = without_order(loaded)
    grid = _grid(loaded, task)
    if grid is not None and len(grid) > 1 and "grid" not in changes and leaves_out(spec, "grid"):
        columns = grid[1] if len(grid) == 2 else "x".join(map(str, grid[1:]))
        loaded = load_spec(spec, trust_code=trust_code, **changes, grid=columns)
    return loaded if task.direction == "forward" else both_ways(loaded, grid)


def _grid(spec: ModelSpec, task: Task) -> tuple[int, ...] | None:
    """Return the grid that the tokens form; None if there is none, or the spec is wrong, which building it tells."""
    if task.stream is None or spec.encoder:
        return None
    try:
        return embedder_info(spec.embed.name, task.stream, **spec.embed.options).grid
    except ValueError:
        return None


def model_for(
    task: Task,
    spec: ModelSpec | Mapping[str, Any] | str | Path,
    *,
    seed: int = 0,
    fitted: bool = True,
    splits: Sequence[Split] = ("train",),
    **changes: Any,
) -> SequenceModel:
    """Create a model with new weights for the task.

    Args:
        task: the task.
        spec, changes: arguments of :func:`spec_for`.
        seed: of the weights.
        fitted: fit its embedder and its head on training samples where they need that; not needed where a checkpoint
            is loaded.
        splits: those that it is going to be trained on, whose samples a head counts.

    Raises:
        ValueError: the spec is wrong, its head does not answer the task's question, it needs side inputs that the task
            does not have, or the model sees the token that it is to predict.
    """
    loaded = spec_for(task, spec, **changes)
    head = head_class(loaded.head.name)
    if reason := head.refuses(task.question):
        raise ValueError(f"head {loaded.head.name!r} cannot do task {task.name!r}: it {reason}")
    if head.reads_sample and (task.stream is None or task.stream.asked is None):
        raise ValueError(
            f"head {loaded.head.name!r} cannot do task {task.name!r}: it tells which item is next in a log of events, "
            "and this data is none"
        )
    if head.sees_whole and not task.sees_whole:
        raise ValueError(
            f"head {loaded.head.name!r} cannot do task {task.name!r}: an output a token must not depend on later "
            "tokens, and this head's do"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(loaded.model_dump(), **io_for(task))
        if fitted:
            _fit(model, task, splits)
    if reason := _cannot_do(model, task):
        raise ValueError(f"spec {str(loaded)!r} {reason}")
    return model


def _fit(model: SequenceModel, task: Task, splits: Sequence[Split]) -> None:
    """Choose what is not trained in the model by training samples."""
    if isinstance(model.embed, Embedder) and model.embed.fit_elements:
        least, most = FITTED
        known = task.train_sample(max(least, min(most, model.embed.fit_elements // task.train_length)))
        model.embed.fit(model.inputs.values(known.inputs), known.mask)
    if model.head.fit_elements:
        known = task.long_samples(splits, model.head.fit_elements)
        tokens = numbers_of(known.inputs, model.facts, model.num_outputs)
        if known.mask is not None:
            tokens = torch.where(known.mask, tokens, 0)
        model.head.fit(tokens, numbered(known.targets))


def _cannot_do(model: SequenceModel, task: Task) -> str | None:
    """Return why the model cannot do the task, None if it can."""
    cannot = f"cannot do task {task.name!r}:"
    given = {*task.side, *model.given_side}
    if lacking := [name for name in model.body.info.required if name not in given]:
        return f"{cannot} it needs {', '.join(lacking)} beside the inputs, which this data does not have"
    if task.objective.pool is None and not task.sees_whole and not model.body.info.causal:
        return (
            f"{cannot} an output a token must not depend on later tokens, and this model's reach is "
            f"{model.body.info.reach}"
        )
    read = [(model.body, task.sample_length if model.joins else model.fixed_length or task.train_length)]
    read += [] if model.encoder is None else [(model.encoder, task.source_length)]
    for body, length in read:
        limit = body.info.max_length
        if limit is not None and limit < length:
            return f"takes at most {limit} tokens, task {task.name!r} has {length}"
    return None


def outputs_of(model: SequenceModel, batch: Batch, call: Call | None = None) -> Tensor:
    """Return the outputs that a batch asks of a model; side inputs that its mixers do not take are left out."""
    more = {} if batch.at is None else {"at": batch.at}
    if model.head.context and model.training:
        more["following"] = batch.targets
    found: Tensor = model(batch.inputs, batch.mask, **_given(model, batch, call), **more)
    return found if batch.elements is None else found[batch.elements[:, 0], batch.elements[:, 1]]


def hidden_of(model: SequenceModel, batch: Batch, call: Call | None = None) -> Tensor:
    """Return the hidden states of all elements of a batch, before the head."""
    return model.hidden(batch.inputs, batch.mask, **_given(model, batch, call))


def _given(model: SequenceModel, batch: Batch, call: Call | None) -> dict[str, Any]:
    """Return the further arguments of a model for a batch."""
    if side := {name: value for name, value in batch.side.items() if name in model.body.info.side}:
        call = replace(call or Call(), side=side)
    return {"call": call, **({} if batch.source is None else {"source": batch.source})}
