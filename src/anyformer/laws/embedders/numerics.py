"""Laws of numerics in embedders."""

from __future__ import annotations

import torch

from anyformer.laws.case import LawBroken
from anyformer.laws.embedders.cases import EmbedderCase
from anyformer.laws.measures import close, close_in_bfloat16, every_parameter_learns, weights_for
from anyformer.laws.registry import register_embedder_law


@register_embedder_law("gradient")
def gradient(case: EmbedderCase) -> bool:
    """Every parameter gets a finite gradient that is not zero."""
    embed = case.embedder().train()
    x = embed(case.values(8))
    (x * weights_for(x)).sum().backward()
    every_parameter_learns(embed)
    return True


@register_embedder_law("precision")
@torch.no_grad()
def precision(case: EmbedderCase) -> bool:
    """Vectors have the dtype of the parameters; those in float32 and bfloat16 are near those in float64."""
    wide = case.embedder().eval()(case.values(2))
    for dtype in (torch.float32, torch.bfloat16):
        x = case.embedder(dtype).eval()(case.values(2, dtype=dtype))
        if x.dtype != dtype:
            raise LawBroken(f"vectors of parameters in {dtype} are {x.dtype}")
        if dtype == torch.float32:
            close("vectors in float32", x, wide, 1e-4)
        else:
            close_in_bfloat16("vectors in bfloat16", x, wide)
    return True
