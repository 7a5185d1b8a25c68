"""The last tokens before each element of a sequence, for heads that read them."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.inputs import Layout, take_tokens
from anyformer.layers.conv import recent
from anyformer.layers.ngrams import token_windows


def head_tokens(
    x: Tensor, mask: Tensor | None, width: int, *, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the last ``width`` tokens up to each of x (B, T, width), and the next one (B, T), all int64.

    They are those of the same sequence, whatever is masked between them, numbered from 1; 0 stands for none.

    Args:
        x: (B, T) tokens, from 0.
        mask: (B, T) bool, or integers of packed sequences, as in :meth:`anyformer.Mixer.forward`.
        before: (B, width - 1), the numbers of those before; by default there are none.
    """
    layout = Layout.of(x, mask)
    numbers = layout.align(x + 1)
    following = torch.zeros_like(numbers)
    following[:, :-1] = numbers[:, 1:]
    return layout.restore(token_windows(numbers, width, before)), layout.restore(following)


def last_tokens(x: Tensor, mask: Tensor | None, before: Tensor) -> Tensor:
    """Return the numbers of the last real tokens (B, W) of those ``before`` (B, W) and of x (B, T), mask bool."""
    layout = Layout.of(x, mask)
    return recent(layout.align(x + 1)[..., None], before[..., None], before.shape[1], layout.mask)[..., 0]


def read_beside(
    x: Tensor,
    mask: Tensor | None,
    width: int,
    *,
    at: Tensor | None = None,
    following: Tensor | None = None,
    training: bool = False,
) -> dict[str, Tensor]:
    """Return ``tokens`` (B, T, width), and in training ``following`` (B, T), as heads read them beside hidden states.

    Args:
        x, mask, width: see :func:`head_tokens`.
        at: (B, N), the elements that are asked, instead of all T.
        following: the answers, (B, T) or (B, N), from 0; by default the next tokens.
    """
    tokens, after = head_tokens(x, mask, width)
    if at is not None:
        tokens, after = take_tokens(tokens, at), take_tokens(after, at)
    if not training:
        return {"tokens": tokens}
    return {"tokens": tokens, "following": after if following is None else numbered(following)}


def numbered(targets: Tensor) -> Tensor:
    """Return classes numbered from 1, and 0 for those that do not count, which are below 0."""
    return targets.clamp_min(-1) + 1
