"""Beam search (Graves 2012, section 2.6; Sutskever 2014, section 3.2): the likeliest continuation, nearly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from anyformer.precision import widen
from anyformer.schema import Stream
from anyformer.state import State, select_rows


class StartingModel(Protocol):
    """The methods of a model that :func:`beam_search` calls."""

    def start(
        self, x: Tensor, mask: Tensor | None = None, *, source: Stream | None = None
    ) -> tuple[Tensor, State]: ...

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]: ...


class Found(NamedTuple):
    """The best continuations.

    Attributes:
        tokens: (B, N) int64, filled with the stop token behind the first one; N is the length of the longest.
        scores: (B,), the sum of the log-probabilities of the tokens, the first stop token included.
    """

    tokens: Tensor
    scores: Tensor


@torch.no_grad()
def beam_search(
    model: StartingModel,
    prompt: Tensor,
    max_new_tokens: int,
    *,
    stop_token: int,
    width: int = 4,
    source: Stream | None = None,
) -> Found:
    """Find likely continuations of prompts: see :func:`definition`.

    Args:
        model: in evaluation mode.
        prompt: (B, T) int64, at least one token each.
        max_new_tokens: the length at which a continuation is cut.
        stop_token: ends a continuation.
        width: number of hypotheses that are kept; 1 is greedy search.
        source: the sequence that the prompts continue.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    if width < 1 or max_new_tokens < 1:
        raise ValueError(f"width and max_new_tokens must be at least 1, got {width} and {max_new_tokens}")
    B, device = prompt.shape[0], prompt.device
    outputs, state = model.start(prompt, source=source)
    every = torch.arange(B, device=device).repeat_interleave(width)
    logits, state = outputs[:, -1][every], select_rows(state, every)
    tokens = prompt.new_zeros(B * width, 0)
    ended = torch.zeros(B * width, dtype=torch.bool, device=device)
    scores = widen(logits).new_full((B, width), -torch.inf)
    scores[:, 0] = 0  # at first all hypotheses are the same
    while True:
        logs = _after_the_end(widen(logits).log_softmax(-1), ended, stop_token)
        V = logs.shape[-1]
        scores, index = (scores[..., None] + logs.reshape(B, width, V)).flatten(1).topk(width)
        rows = (torch.arange(B, device=device)[:, None] * width + index // V).flatten()
        token = (index % V).reshape(-1, 1)
        tokens, ended = torch.cat([tokens[rows], token], 1), ended[rows] | (token[:, 0] == stop_token)
        best = ended.reshape(B, width)[:, 0]  # no other can overtake it: scores only fall
        if tokens.shape[1] == max_new_tokens or bool(best.all()):
            return Found(tokens[::width], scores[:, 0])
        outputs, state = model.stream(token, select_rows(state, rows))
        logits = outputs[:, -1]


def _after_the_end(logs: Tensor, ended: Tensor, stop_token: int) -> Tensor:
    """Log-probabilities (R, V) by which an ended hypothesis stays as it is."""
    stay = torch.full_like(logs[:1], -torch.inf)
    stay[:, stop_token] = 0
    return torch.where(ended[:, None], stay, logs)


def definition(
    following: Callable[[tuple[int, ...]], Tensor], max_new_tokens: int, *, stop_token: int, width: int
) -> tuple[tuple[int, ...], float]:
    """Beam search in a loop: of the hypotheses that have ended, and of those that have not continued by each token,
    the ``width`` likeliest are kept.

    Args:
        following: log-probabilities (V,) of the token after these ones.
        max_new_tokens, stop_token, width: see :func:`beam_search`.

    Returns:
        The likeliest hypothesis, and the logarithm of its probability.
    """
    kept: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(max_new_tokens):
        longer = [(y, score) for y, score in kept if stop_token in y]
        longer += [
            ((*y, token), score + log)
            for y, score in kept
            if stop_token not in y
            for token, log in enumerate(following(y).tolist())
        ]
        kept = sorted(longer, key=lambda hypothesis: -hypothesis[1])[:width]
    return kept[0]
