"""The last tokens before each element of a sequence, for heads that read them."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.heads import Head
from anyformer.inputs import Layout, take_tokens
from anyformer.layers.conv import recent
from anyformer.layers.ngrams import token_windows
from anyformer.schema import StreamFacts, Values


def numbers_of(x: Tensor | Values, facts: StreamFacts | None, outputs: int) -> Tensor:
    """Return tokens, or the category that is asked, as numbers of the outputs from 1 (B, T); 0 for those of none."""
    if isinstance(x, Tensor):
        return x + 1
    assert facts is not None and facts.asked is not None
    (size,) = (field.size for field in facts.fields if field.name == facts.asked)
    return (x[facts.asked].long() - (size or 0) + outputs + 1).clamp_min(0)


def head_tokens(
    numbers: Tensor, mask: Tensor | None, width: int, *, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the last ``width`` tokens up to each element (B, T, width), and the next one (B, T), all int64.

    They are those of the same sequence, whatever is masked between them, numbered from 1; 0 stands for none.

    Args:
        numbers: (B, T), tokens so numbered.
        mask: (B, T) bool, or integers of packed sequences, as in :meth:`anyformer.Mixer.forward`.
        before: (B, width - 1), the numbers of those before; by default there are none.
    """
    layout = Layout.of(numbers, mask)
    numbers = layout.align(numbers)
    following = torch.zeros_like(numbers)
    following[:, :-1] = numbers[:, 1:]
    return layout.restore(token_windows(numbers, width, before)), layout.restore(following)


def last_tokens(numbers: Tensor, mask: Tensor | None, before: Tensor) -> Tensor:
    """Return the last real tokens (B, W) of those ``before`` (B, W) and of numbers (B, T) with a mask (B, T) bool."""
    layout = Layout.of(numbers, mask)
    return recent(layout.align(numbers)[..., None], before[..., None], before.shape[1], layout.mask)[..., 0]


def read_beside(
    numbers: Tensor,
    mask: Tensor | None,
    head: Head,
    *,
    at: Tensor | None = None,
    following: Tensor | None = None,
    training: bool = False,
) -> dict[str, Tensor]:
    """Return ``tokens`` (B, T, W), and in training ``following`` (B, T), as a head reads them beside hidden states.

    Args:
        numbers, mask: see :func:`head_tokens`.
        head: the head; one that reads it also gets the ``sample`` (B, T, T + 1).
        at: (B, N), the elements that are asked, instead of all T.
        following: the answers, (B, T) or (B, N), from 0; by default the next tokens.
    """
    tokens, after = head_tokens(numbers, mask, head.context)
    if at is not None:
        tokens, after = take_tokens(tokens, at), take_tokens(after, at)
    if not training:
        return {"tokens": tokens}
    found = {"tokens": tokens, "following": after if following is None else numbered(following)}
    if head.reads_sample:
        found["sample"] = _samples(numbers, found["following"], mask)
    return found


def _samples(numbers: Tensor, following: Tensor, mask: Tensor | None) -> Tensor:
    """Return all tokens of the sequence of each element, and its answers (B, N, T + N), of numbers (B, T)."""
    if mask is not None:
        numbers = torch.where(mask > 0, numbers, 0)
    found = torch.cat([numbers, following], 1)[:, None].expand(-1, following.shape[1], -1)
    if mask is None or mask.dtype == torch.bool or numbers.shape != following.shape:
        return found
    own = mask[:, :, None] == mask[:, None]  # of the same packed sequence
    return torch.where(torch.cat([own, own], 2), found, 0)


def numbered(targets: Tensor) -> Tensor:
    """Return classes numbered from 1, and 0 for those that do not count, which are below 0."""
    return targets.clamp_min(-1) + 1
