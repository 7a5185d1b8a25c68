"""A model of dense attention as one that looks at fewer keys, with the same weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from anyformer.models import SequenceModel
from anyformer.models.spec import PartSpec


def keep_best_keys(model: SequenceModel, top: int) -> SequenceModel:
    """Attention that reads only the ``top`` keys of the highest scores (Mao 2024): exact where no more are seen.

    Args:
        model: of ``attention``, among other parts; positions may turn queries and keys, but not change scores.

    Returns:
        A new model in evaluation mode.

    Raises:
        ValueError: for a model without attention, or with options of it that cannot be kept.
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
    """A bidirectional encoder with LSG attention, for longer texts than it was trained on (Condevaux 2022).

    Up to two blocks behind the global tokens its outputs are the model's.

    Args:
        model: of ``attention`` with as many heads for keys as for queries, among other parts.
        block, sparsity, selection, num_global: of ``lsg_attention``.
        max_length: what learned positions are made long enough for, the table repeated end to end.

    Returns:
        A new model in evaluation mode.

    Raises:
        ValueError: for a causal model or one without attention, options that cannot be kept, and a ``max_length`` for
            positions that have none.
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
    """The model with each attention part changed, and its weights, those of learned positions repeated."""
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
    # a hash has buffers of its own; of the model's nothing may be lost
    loaded = new.to(next(model.parameters()).dtype).load_state_dict(tensors, strict=False)
    assert not loaded.unexpected_keys, loaded.unexpected_keys
    return new.eval()
