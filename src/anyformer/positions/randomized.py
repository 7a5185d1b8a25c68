"""Random positions for another scheme."""

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
    """Any scheme with positions drawn, in order, from a range far longer than the sequence (Ruoss 2023, section 3).

    For n tokens, n different positions below ``limit`` are drawn and sorted; in training once per batch, for all
    samples and layers. In evaluation the draws are fixed: by default one for each n, as in the paper, which needs
    ``causal=False``, as positions then depend on the number of later tokens; with ``longest`` one draw, whose first n
    positions are used, so that it streams.

    Args:
        scheme: the scheme that uses the positions.
        limit: positions to draw from, the paper's L; the longest sequence.
        longest: the longest sequence in evaluation.
        seed: of the draws in evaluation.
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
        order = torch.rand(
            o.limit, generator=generator, device="cpu"
        ).argsort()  # not randperm, as in training
        if o.longest is not None:
            order = order[: o.longest].sort().values
        self.register_buffer("order", order)

    def ids(self, inputs: Inputs, streaming: bool = False) -> Tensor:
        which = self.inner.ids(inputs, streaming).round().long()
        drawn = self._training_draw(inputs) if self.training and not streaming else self._fixed_draw(inputs)
        return drawn.expand(which.shape[0], -1).gather(1, which).to(inputs.positions.dtype)

    def _training_draw(self, inputs: Inputs) -> Tensor:
        """Return positions (1, T), drawn by the first layer of the call."""
        T, device = inputs.index.shape[1], inputs.index.device
        self._check(T)
        shared, key = inputs.call.shared, f"randomized:{self.limit}:{T}"
        if key not in shared:
            shared[key] = torch.randperm(self.limit, device=device)[:T].sort().values[None]
        drawn: Tensor = shared[key]
        return drawn

    def _fixed_draw(self, inputs: Inputs) -> Tensor:
        """Return the fixed positions, (1 or B, T)."""
        if self.longest is not None:
            return self.order[None]
        T = inputs.index.shape[1]
        self._check(T)
        if inputs.mask is None:
            return self.order[:T].sort().values[None]
        drawn = self.order[:T].masked_fill(~inputs.mask, self.limit)  # masked tokens, past the end
        return drawn.sort(1).values

    def _check(self, length: int) -> None:
        if length > self.limit:
            raise ValueError(
                f"x must have at most {self.limit} tokens (randomized positions' limit), got {length}"
            )
