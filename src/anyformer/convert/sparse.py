"""Conversion of dense attention to attention that reads fewer keys, with the same weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from anyformer.models import SequenceModel
from anyformer.models.line import PartSpec


def keep_best_keys(model: SequenceModel, top: int) -> SequenceModel:
    """Return a copy whose attention reads only the ``top`` keys with the highest scores of each query (Mao 2024).

    It is exact for queries that see no more than ``top`` keys.

    Args:
        model: a model with ``attention``. Its positions may rotate queries and keys, but not change scores.
        top: keys for each query.

    Returns:
        A new model in evaluation mode.

    Raises:
        ValueError: if it has no ``attention``, or options that ``top_k_attention`` does not have.
    """

    def change(part: PartSpec) -> PartSpec:
        return part.model_copy(update={"name": "top_k_attention", "options": {**part.options, "top": top}})

    return _with_attention(model, change)


def local_sparse_global(
    model: SequenceModel,
    *,
    block: int = 64,
    sparsity: int = 2,
    selection: str = "norm",
    num_global: int = 1,
    max_length: int | None = None,
) -> SequenceModel:
    """Return a copy of a bidirectional encoder with LSG attention, for texts longer than in training (Condevaux 2022).

    For global tokens and at most two blocks behind them, its outputs are those of ``model``.

    Args:
        model: a model with ``attention`` of as many key/value heads as query heads.
        block, sparsity, selection, num_global: options of ``lsg_attention``.
        max_length: length to which the table of learned positions is extended, by repeating it.

    Returns:
        A new model in evaluation mode.

    Raises:
        ValueError: if the model is causal or has no ``attention``, has options that ``lsg_attention`` does not have,
            or ``max_length`` is given and its positions are not learned.
    """
    if model.spec.causal:
        raise ValueError("model must be bidirectional, got causal=True")
    options = {"block": block, "sparsity": sparsity, "selection": selection, "num_global": num_global}

    def change(part: PartSpec) -> PartSpec:
        return part.model_copy(update={"name": "lsg_attention", "options": {**part.options, **options}})

    return _with_attention(model, change, max_length)


@torch.no_grad()
def _with_attention(
    model: SequenceModel, change: Callable[[PartSpec], PartSpec], max_length: int | None = None
) -> SequenceModel:
    """Return a copy with each ``attention`` part changed, the same weights, and learned positions repeated."""
    spec = model.spec
    if max_length is not None and spec.positions.name != "learned":
        raise ValueError(f"max_length is for learned positions, got {spec.positions.name!r}")
    if not any(part.name == "attention" for part in spec.layers):
        raise ValueError(f"model must have layers of attention, got {spec}")
    fields = spec.model_dump()
    fields["layers"] = [
        (change(part) if part.name == "attention" else part).model_dump() for part in spec.layers
    ]
    tensors = dict(model.state_dict())
    if max_length is not None:
        table = tensors["body.embed.weight"]
        tensors["body.embed.weight"] = table.repeat(-(-max_length // len(table)), 1)[:max_length]
        fields["positions"]["options"]["max_length"] = max_length
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    # new parts may have buffers (a hash's) that the model lacks; nothing of the model's may be lost
    loaded = new.to(next(model.parameters()).dtype).load_state_dict(tensors, strict=False)
    assert not loaded.unexpected_keys, loaded.unexpected_keys
    return new.eval()
