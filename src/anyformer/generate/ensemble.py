"""Averages over random parts of one model."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Call
from anyformer.models import SequenceModel


@torch.no_grad()
def self_ensemble(
    model: SequenceModel, x: Tensor, passes: int, *, mask: Tensor | None = None, seed: int = 0
) -> Tensor:
    """Average the probabilities of a model with ``subsampled_attention`` over draws of visible tokens (Hussain 2023).

    Args:
        x, mask: inputs of the model.
        passes: number of draws.
        seed: draws use this seed and those after it, the same for all samples.

    Returns:
        the mean of ``model(x).softmax(-1)``.

    Raises:
        ValueError: for a model without such layers, or no passes.
    """
    if passes < 1:
        raise ValueError(f"passes must be at least 1, got {passes}")
    if "pathway" not in model.body.info.side:
        raise ValueError("model must have layers that see a random part: subsampled_attention")
    total = torch.zeros(())
    for number in range(passes):
        pathway = torch.full((x.shape[0],), seed + number, device=x.device)
        total = total + model(x, mask, call=Call(side={"pathway": pathway})).softmax(-1)
    return total / passes
