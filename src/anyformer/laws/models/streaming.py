"""The law of streaming whole models."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.measures import LENGTH, close
from anyformer.laws.models.cases import ModelCase, TokenInputs
from anyformer.laws.registry import register_model_law
from anyformer.models import SequenceModel


@register_model_law("streaming")
@torch.no_grad()
def streaming(case: ModelCase) -> bool:
    """Tokens streamed one by one or in pieces, after a source that is read once or with masked tokens between them, get
    the outputs of the whole."""
    model = case.model()
    if not model.body.info.causal or model.pool is not None:
        return False
    tokens = case.tokens(model, 2, LENGTH)
    if model.source is not None:
        S, device = tokens.x["source"].shape[1], tokens.x["source"].device
        lengths = torch.tensor([[S], [4]], device=device)
        tokens = tokens.masked(source=torch.arange(S, device=device) < lengths)
    y = tokens(model)
    for how, sizes in (("one by one", [1] * y.shape[1]), ("in pieces", [3, 0, 1, y.shape[1] - 4])):
        close(f"streamed {how} against the whole", _streamed(model, tokens, sizes), y)
        if tokens.source is None and not model.body.info.grid:
            x = tokens.x["x"]
            mask = (torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) < 0.7).to(x.device)
            masked = tokens.masked(x=mask)
            close(
                f"streamed {how} with masked tokens",
                _streamed(model, masked, sizes)[mask],
                masked(model)[mask],
            )
    return True


def _streamed(model: SequenceModel, tokens: TokenInputs, sizes: list[int]) -> Tensor:
    pieces = tokens.x["x"].split(sizes, 1)
    masks = [None] * len(sizes) if "x" not in tokens.masks else tokens.masks["x"].split(sizes, 1)
    if tokens.source is None:
        y, state = model.stream(pieces[0], model.init_state(2), masks[0])
    else:
        y, state = model.start(pieces[0], source=tokens.source)
    out = [y]
    for piece, mask in zip(pieces[1:], masks[1:]):
        y, state = model.stream(piece, state, mask)
        out.append(y)
    return torch.cat(out, 1)
