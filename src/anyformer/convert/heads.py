"""Conversion of attention to fewer key/value heads."""

from __future__ import annotations

from typing import Any

import torch

from anyformer.mixers.softmax.attention import Attention
from anyformer.models import SequenceModel
from anyformer.models.line import PartSpec

FAMILY = ("attention", "key_driven_attention")


@torch.no_grad()
def group_heads(
    model: SequenceModel, num_kv_heads: int, *, part: str = "attention", **options: Any
) -> SequenceModel:
    """Return a copy whose attention has ``num_kv_heads`` key/value heads, each the mean of a group of heads.

    Neighbouring heads form groups of equal size (Ainslie 2023, section 2.1). The same number of heads as before
    changes nothing; fewer heads need further training.

    Args:
        model: a model with layers of ``attention``.
        num_kv_heads: a divisor of the number of key/value heads of every such layer.
        part: the part that replaces them: ``attention``, or ``key_driven_attention``.
        options: further options of that part.

    Raises:
        ValueError: if the model has no ``attention``, ``part`` is another one, or the heads cannot be grouped so.
    """
    if part not in FAMILY:
        raise ValueError(f"part must be one of {', '.join(FAMILY)}, got {part!r}")
    found = [m for m in model.modules() if type(m) is Attention]
    if not found:
        raise ValueError("model must have layers of attention, got none")
    for m in found:
        if num_kv_heads < 1 or m.num_kv_heads % num_kv_heads:
            raise ValueError(
                f"num_kv_heads must divide the {m.num_kv_heads} of attention, got {num_kv_heads}"
            )

    def grouped(layer: PartSpec) -> PartSpec:
        inner = [[grouped(one) for one in stack] for stack in layer.inner]
        if layer.name != "attention":
            return layer.model_copy(update={"inner": inner})
        given = {**layer.options, **options, "num_kv_heads": num_kv_heads}
        return layer.model_copy(update={"name": part, "options": given})

    fields = model.spec.model_dump()
    fields["layers"] = [grouped(layer).model_dump() for layer in model.spec.layers]
    new = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    new.to(next(model.parameters()).dtype)
    widths = {
        f"{name}.{kind}": m.head_dim
        for name, m in new.named_modules()
        if isinstance(m, Attention)
        for kind in ("k", "v")
    }
    for name, p in new.named_parameters():
        old, K = model.get_parameter(name), widths.get(name.rpartition(".")[0], 1)
        p.copy_(old.unflatten(0, (len(p) // K, -1, K)).mean(1).flatten(0, 1))
    return new.train(model.training)
