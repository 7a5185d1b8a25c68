"""Models for tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call
from anyformer.heads import head_class
from anyformer.models import ModelSpec, SequenceModel, load_spec
from anyformer.tasks import Batch, Task


def io_for(task: Task) -> dict[str, Any]:
    """Return the arguments of :class:`SequenceModel` for the task's inputs and outputs."""
    return {
        "vocab_size": task.vocab_size,
        "num_features": task.num_features,
        "num_outputs": task.objective.num_outputs,
        "pool": task.objective.pool,
        "stream": None if task.stream is None else task.stream.model_dump(exclude_none=True),
        "source": None if task.source is None else task.source.model_dump(exclude_none=True),
    }


def model_for(
    task: Task, spec: ModelSpec | Mapping[str, Any] | str | Path, *, seed: int = 0, **changes: Any
) -> SequenceModel:
    """Create a model with new weights for the task.

    Raises:
        ValueError: the spec is wrong, its head does not answer the task's question, or the model sees the token that it
            is to predict.
    """
    loaded = load_spec(spec, **changes)
    head = head_class(loaded.head.name)
    if reason := head.refuses(task.question):
        raise ValueError(f"head {loaded.head.name!r} cannot do task {task.name!r}: it {reason}")
    if head.sees_whole and not task.sees_whole:
        raise ValueError(
            f"head {loaded.head.name!r} cannot do task {task.name!r}: an output a token must not depend on later "
            "tokens, and this head's do"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(loaded.model_dump(), **io_for(task))
    if task.objective.pool is None and not task.sees_whole and not model.body.info.causal:
        raise ValueError(
            f"spec {str(loaded)!r} cannot do task {task.name!r}: an output a token must not depend on later tokens, "
            f"and this model's reach is {model.body.info.reach}"
        )
    read = [(model.body, task.sample_length if model.joins else model.fixed_length or task.train_length)]
    read += [] if model.encoder is None else [(model.encoder, task.source_length)]
    for body, length in read:
        limit = body.info.max_length
        if limit is not None and limit < length:
            raise ValueError(
                f"spec {str(loaded)!r} takes at most {limit} tokens, task {task.name!r} has {length}"
            )
    return model


def outputs_of(model: SequenceModel, batch: Batch, call: Call | None = None) -> Tensor:
    """Return the model's outputs for a batch."""
    source = {} if batch.source is None else {"source": batch.source}
    found: Tensor = model(batch.inputs, batch.mask, call=call, **source)
    return found
