"""Schemes around another scheme: other numbers for the tokens, or weights on the probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.positions import position_info, register_position
from anyformer.positions._around import Around
from anyformer.positions._base import PositionInfo


@register_position("randomized")
class Randomized(Around):
    """Any scheme with numbers drawn from a range far longer than the sequence, in order (Ruoss 2023, section 3).

    For n tokens, n different numbers below ``limit`` are drawn and sorted, in training anew for each batch and alike
    for all its samples and layers. In evaluation the draws are fixed. By default they are one for each number of
    tokens, as in the paper; then a model must have ``causal=False``, as an earlier token's number depends on how
    many follow. With ``longest`` there is one draw, of which shorter sequences take the first; it streams.

    Args:
        scheme: what uses the numbers.
        limit: numbers to draw from, the paper's L; the longest sequence there can be.
        longest: the longest sequence that is evaluated.
        seed: of the draws of evaluation.
    """

    order: Tensor

    class Options(Around.Options):
        limit: int = 2048
        longest: int | None = None
        seed: int = 0

        def info(self) -> PositionInfo:
            inner = position_info(self.scheme)
            if self.limit < 1 or (self.longest is not None and not 1 <= self.longest <= self.limit):
                raise ValueError(
                    f"longest must be from 1 to limit for randomized, got {self.longest} and {self.limit}"
                )
            if inner.max_length is not None and inner.max_length < self.limit:
                raise ValueError(
                    f"limit must be at most {inner.max_length}, the positions of the scheme inside, got {self.limit}"
                )
            return inner._replace(
                numbers=True,
                draws=True,
                streams=inner.streams and self.longest is not None,
                max_length=self.limit if self.longest is None else self.longest,
            )

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        o = self.options
        self.limit, self.longest = o.limit, o.longest
        generator = torch.Generator().manual_seed(o.seed)
        order = torch.rand(o.limit, generator=generator, device="cpu").argsort()  # a stream unlike training's
        if o.longest is not None:
            order = order[: o.longest].sort().values
        self.register_buffer("order", order)

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        which = self.inner.ids(inputs, streaming).round().long()
        drawn = self._training_draw(inputs) if self.training and not streaming else self._fixed_draw(inputs)
        return drawn.expand(which.shape[0], -1).gather(1, which).to(inputs.positions.dtype)

    def _training_draw(self, inputs: Inputs) -> Tensor:
        """(1, T): drawn by the first layer that asks."""
        T, device = inputs.index.shape[1], inputs.index.device
        self._check(T)
        shared, key = inputs.call.shared, f"randomized:{self.limit}:{T}"
        if key not in shared:
            shared[key] = torch.randperm(self.limit, device=device)[:T].sort().values[None]
        drawn: Tensor = shared[key]
        return drawn

    def _fixed_draw(self, inputs: Inputs) -> Tensor:
        """(1 or B, T)."""
        if self.longest is not None:
            return self.order[None]
        T = inputs.index.shape[1]
        self._check(T)
        if inputs.mask is None:
            return self.order[:T].sort().values[None]
        drawn = self.order[:T].masked_fill(~inputs.mask, self.limit)  # past the end, where there is nobody
        return drawn.sort(1).values

    def _check(self, length: int) -> None:
        if length > self.limit:
            raise ValueError(
                f"x must have at most {self.limit} tokens (randomized positions' limit), got {length}"
            )
