"""Laws of purity: a whole model's output depends on nothing but its tokens."""

from __future__ import annotations

import torch

from anyformer.laws.measures import LENGTH, close
from anyformer.laws.models.cases import ModelCase
from anyformer.laws.registry import register_model_law


@register_model_law("independence")
@torch.no_grad()
def independence(case: ModelCase) -> bool:
    """A sample's outputs do not depend on its batch, and evaluation repeats bit for bit."""
    model = case.model()
    tokens = case.tokens(model, 3, LENGTH)
    y = tokens(model)
    close("a second evaluation", tokens(model), y, 0.0)
    for b in range(len(y)):
        close("a sample alone against it in a batch", tokens.alone(b)(model), y[b : b + 1])
    return True
