"""Pieces of a call's tokens, cut where a sample's token number is a multiple of a period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from anyformer.contract import Inputs, take_tokens


class Piece(NamedTuple):
    """Tokens of one call that lie in one period, which may differ between samples."""

    take: Tensor  # (B, W) int64: tokens of the call
    inputs: Inputs  # of these tokens
    starts: Tensor  # (B,) bool: the piece holds the first token of a period
    ends: Tensor  # (B,) bool: it holds the last one

    def of(self, x: Tensor) -> Tensor:
        """Gather x (B, T, D) at the piece's tokens: (B, W, D), zero where masked."""
        return self.inputs.zero(take_tokens(x, self.take))

    def put(self, y: Tensor, part: Tensor) -> Tensor:
        """Add ``part`` (B, W, D) to y (B, T, D) at the piece's tokens."""
        return y.scatter_add(
            1, self.take[..., None].expand(-1, -1, y.shape[-1]), self.inputs.zero(part).to(y.dtype)
        )


def pieces(inputs: Inputs, period: int) -> Iterator[Piece]:
    """Yield the call's tokens in order, cut so that no piece crosses a multiple of ``period`` in any sample."""
    B, T = inputs.index.shape
    if B == 0 or T == 0:
        return
    lengths, first = inputs.lengths, inputs.index[:, 0]
    done = torch.zeros_like(lengths)
    offsets = torch.arange(period, device=first.device)
    rounds = T // period + 2  # the most periods that T tokens can span
    for _ in range(rounds):
        left = period - (first + done) % period
        size = torch.minimum(left, lengths - done)
        width = int(size.max())
        if width == 0:
            return
        mask = offsets[:width] < size[:, None]
        take = (done[:, None] + offsets[:width]).clamp_max(T - 1)
        chosen = inputs.pick(lambda t, take=take: take_tokens(t, take))  # type: ignore[misc]
        yield Piece(
            take,
            chosen.replace(mask=mask),
            (left == period) & (size > 0),
            (size == left) & (size > 0),
        )
        done = done + size
