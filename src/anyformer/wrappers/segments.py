"""Truncated backpropagation through time around any streaming stack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo, Wrapper
from anyformer.state import State, detach, where_rows
from anyformer.wrappers import register_wrapper
from anyformer.wrappers._pieces import pieces


@register_wrapper("segments")
class Segments(Wrapper):
    """A stack run segment by segment, its state carried on and detached at each segment's start.

    This truncates backpropagation through time, as in Transformer-XL (Dai 2019, section 3.2); outputs equal those of
    the inner stack.

    Args:
        inner: a causal mixer.
        length: tokens of a segment, counted from a sequence's first token.
    """

    class Options(Wrapper.Options):
        length: int = 64

        def info(self, inner: MixerInfo) -> MixerInfo:
            if not inner.causal:
                raise ValueError(f"inner must be causal to run by segments, got reach {inner.reach}")
            if self.length < 1:
                raise ValueError(f"length must be at least 1, got {self.length}")
            return inner

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        self.inner, self.length = inner, o.length

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        state = self._init_state(x.shape[0], x.device, x.dtype)
        parts = []
        for start in range(0, x.shape[1], self.length):
            here = slice(start, start + self.length)
            y, state = self.inner.stream(x[:, here], detach(state), inputs.between(here))
            parts.append(y)
        return torch.cat(parts, 1) if parts else x

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return self.inner.own_state(batch_size, device, dtype)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y = torch.zeros_like(x)
        for piece in pieces(inputs, self.length):
            state = where_rows(piece.starts, detach(state), state)
            part, state = self.inner.stream(piece.of(x), state, piece.inputs)
            y = piece.put(y, part)
        return y, state
