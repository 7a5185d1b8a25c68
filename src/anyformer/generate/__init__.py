"""Decoding: sampling from a model that streams."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from anyformer.contract import Context
from anyformer.precision import widen
from anyformer.schema import Stream
from anyformer.state import State


class StreamingModel(Protocol):
    """The methods of a model that :func:`generate` calls; ``start`` only for one with a source."""

    def start(
        self, x: Tensor, mask: Tensor | None = None, *, source: Stream | None = None
    ) -> tuple[Tensor, State]: ...

    def init_state(self, batch_size: int) -> State: ...

    def stream(
        self, x: Tensor, state: State, mask: Tensor | None = None, *, context: Context | None = None
    ) -> tuple[Tensor, State]: ...


@torch.no_grad()
def generate(
    model: StreamingModel,
    prompt: Tensor,
    max_new_tokens: int,
    *,
    mask: Tensor | None = None,
    context: Context | None = None,
    source: Stream | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_token: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue prompts token by token.

    Args:
        prompt: (B, T) int64, at least one token each.
        mask: (B, T) bool, real tokens of the prompts; padding may be on either side.
        context: a sequence that the model attends to beside its own tokens.
        source: the sequence that the prompts continue, for a model with one.
        temperature: 0 takes the likeliest token; otherwise logits are divided by it.
        top_k: sample from the ``top_k`` likeliest tokens.
        top_p: sample from the smallest set of tokens that holds this much probability (Holtzman 2019).
        stop_token: a sample that has drawn it is finished and repeats it.

    Returns:
        (B, max_new_tokens) int64, without the prompt.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    _check(prompt, max_new_tokens, mask, temperature, top_k, top_p)
    module = model if isinstance(model, torch.nn.Module) else None
    was_training = module.training if module is not None else False
    if module is not None:
        module.eval()
    B = prompt.shape[0]
    if source is None:
        logits, state = model.stream(prompt, model.init_state(B), mask, context=context)
    else:
        logits, state = model.start(prompt, mask, source=source)
    logits = _last(logits, mask)
    finished = torch.zeros(B, dtype=torch.bool, device=prompt.device)
    drawn = []
    for _ in range(max_new_tokens):
        token = sample(logits, temperature, top_k, top_p, generator)
        if stop_token is not None:
            token = torch.where(finished, stop_token, token)
            finished = finished | (token == stop_token)
        drawn.append(token)
        if len(drawn) == max_new_tokens or bool(finished.all()):
            break
        step, state = model.stream(token[:, None], state)
        logits = step[:, -1]
    if module is not None:
        module.train(was_training)
    out = torch.stack(drawn, 1) if drawn else prompt.new_zeros(B, 0)
    if out.shape[1] < max_new_tokens and stop_token is not None:
        out = torch.nn.functional.pad(out, (0, max_new_tokens - out.shape[1]), value=stop_token)
    return out


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a token (B,) for each row of logits (B, vocabulary); see :func:`generate`."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = widen(logits) / temperature
    if top_k is not None:
        kept = logits.topk(min(top_k, logits.shape[-1]), -1).values[:, -1:]
        logits = logits.masked_fill(logits < kept, -torch.inf)
    if top_p is not None:
        ordered, order = logits.sort(descending=True, dim=-1)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        logits = logits.masked_fill(
            torch.zeros_like(before >= top_p).scatter(-1, order, before >= top_p), -torch.inf
        )
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def _last(logits: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return logits[:, -1]
    order = torch.arange(mask.shape[1], device=mask.device)
    return logits[torch.arange(len(mask), device=mask.device), torch.where(mask, order, 0).argmax(1)]


def _check(
    prompt: Tensor,
    max_new_tokens: int,
    mask: Tensor | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    if prompt.dim() != 2 or prompt.shape[1] < 1:
        raise ValueError(f"prompt must be (batch, time) with at least one token, got {tuple(prompt.shape)}")
    if mask is not None and (
        mask.dtype != torch.bool or mask.shape != prompt.shape or not bool(mask.any(1).all())
    ):
        raise ValueError("mask must be bool, of the prompt's shape, with at least one real token a sample")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
