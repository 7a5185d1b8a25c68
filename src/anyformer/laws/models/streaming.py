"""The law of streaming whole models."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.measures import LENGTH, close
from anyformer.laws.models.cases import Model, ModelCase, TokenInputs
from anyformer.laws.registry import register_model_law
from anyformer.models import EncoderDecoder


@register_model_law("streaming")
@torch.no_grad()
def streaming(case: ModelCase) -> bool:
    """Tokens streamed one by one or in pieces, after a source that is read once, get the outputs of the whole."""
    model = case.model()
    whole = isinstance(model, EncoderDecoder)
    body = model.decoder if isinstance(model, EncoderDecoder) else model.body
    if not body.info.causal or (not whole and model.pool is not None):
        return False
    tokens = case.tokens(model, 2, LENGTH)
    if isinstance(model, EncoderDecoder):
        S, device = tokens.x["source"].shape[1], tokens.x["source"].device
        tokens = tokens.masked(
            source=torch.arange(S, device=device) < torch.tensor([[S], [4]], device=device)
        )
    y = tokens(model)
    for how, sizes in (("one by one", [1] * y.shape[1]), ("in pieces", [3, 0, 1, y.shape[1] - 4])):
        close(f"streamed {how} against the whole", _streamed(model, tokens, sizes), y)
    return True


def _streamed(model: Model, tokens: TokenInputs, sizes: list[int]) -> Tensor:
    state, out, start = model.init_state(2), [], 0
    context = None
    if isinstance(model, EncoderDecoder):
        context = model.encode(tokens.x["source"], tokens.masks.get("source"))
    last = list(tokens.x.values())[-1]
    for size in sizes:
        y, state = model.stream(last[:, start : start + size], state, context=context)
        out.append(y)
        start, context = start + size, None
    return torch.cat(out, 1)
