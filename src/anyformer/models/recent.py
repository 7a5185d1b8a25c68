"""The last tokens before each element of a sequence, for heads that read them."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.layers.conv import recent
from anyformer.layers.ngrams import token_windows


def numbered(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return tokens (B, T) numbered from 1, 0 where a mask (B, T) has none."""
    return tokens + 1 if mask is None else torch.where(mask > 0, tokens + 1, 0)


def head_tokens(
    x: Tensor, mask: Tensor | None, width: int, *, before: Tensor | None = None, following: bool = False
) -> Tensor:
    """Return what a head reads of tokens (B, T): the last ``width`` up to each, and the next (B, T, width + 1).

    Args:
        x, mask: (B, T); tokens are numbered from 1 in what is returned, and 0 stands for none.
        before: (B, width - 1), the numbers of those before; by default there are none.
        following: tell the next token, where x has it; else it is 0.
    """
    numbers = numbered(x, mask)
    after = torch.zeros_like(numbers)
    if following:
        after[:, :-1] = numbers[:, 1:]
    return torch.cat([token_windows(numbers, width, before), after[..., None]], -1)


def last_tokens(x: Tensor, mask: Tensor | None, before: Tensor) -> Tensor:
    """Return the numbers of the last real tokens (B, W) of those ``before`` (B, W) and of x (B, T)."""
    return recent(numbered(x, mask)[..., None], before[..., None], before.shape[1], mask)[..., 0]


def check_tells_next(head: str, outputs: int, vocab_size: int | None) -> None:
    """Raise ``ValueError`` unless the outputs of a head that reads tokens are as many as these."""
    if outputs != vocab_size:
        raise ValueError(
            f"head: {head} tells of the next token, and needs as many outputs as tokens, got {outputs} and "
            f"{vocab_size or 'no tokens'}"
        )
