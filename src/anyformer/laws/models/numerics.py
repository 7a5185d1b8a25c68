"""Laws of numerics in whole models."""

from __future__ import annotations

import torch

from anyformer.contract import Call
from anyformer.laws.measures import LENGTH, every_parameter_learns, weights_for
from anyformer.laws.models.cases import ModelCase
from anyformer.laws.registry import register_model_law


@register_model_law("gradient")
def gradient(case: ModelCase) -> bool:
    """Every parameter of embeddings, encoder, decoder and head gets a finite gradient that is not zero."""
    model = case.model(train=True)
    if model.pool is not None and model.sites is None:  # not every token is read
        return False
    call = Call()
    y = case.tokens(model, 2, LENGTH)(model, call)
    torch.stack([(y * weights_for(y)).sum(), *call.losses.values()]).sum().backward()
    every_parameter_learns(model)
    return True
