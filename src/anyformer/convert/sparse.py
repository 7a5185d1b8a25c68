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


@torch.no_grad()
def _with_attention(model: SequenceModel, change: Callable[[PartSpec], PartSpec]) -> SequenceModel:
    """The model with each attention part changed, and its weights."""
    spec = model.spec
    if not any(part.name == "attention" for part in spec.layers):
        raise ValueError(f"model must have layers of attention, got {spec}")
    fields = spec.model_dump()
    fields["layers"] = [
        (change(part) if part.name == "attention" else part).model_dump() for part in spec.layers
    ]
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    new.to(next(model.parameters()).dtype).load_state_dict(model.state_dict())
    return new.eval()
