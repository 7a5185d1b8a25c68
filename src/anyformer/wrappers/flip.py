"""A stack that runs from the last token to the first."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import GROWTHS, Inputs, Mixer, MixerInfo, Wrapper, take_tokens
from anyformer.state import State
from anyformer.wrappers import register_wrapper


@register_wrapper("flip")
class Flip(Wrapper):
    """A mixer on the tokens in reverse, each sample's own: y = P f(P x).

    Args:
        inner: a mixer; it sees the tokens from the last to the first, renumbered, at their original positions.
    """

    class Options(Wrapper.Options):
        def info(self, inner: MixerInfo) -> MixerInfo:
            self.refuse_grids("another order", inner=inner)
            past, future = inner.reach
            if (past, future) == (0, 0):
                return inner
            reach = (
                (None, None) if past == 0 else (future, past)
            )  # what is flipped twice still does not stream
            cost = max(inner.cost, "n", key=GROWTHS.index)
            return dataclasses.replace(inner, reach=reach, state="none", cost=cost)

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        self.inner = inner

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        place = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        order = place.flip(1) if inputs.mask is None else inputs.lengths[:, None] - 1 - place
        order = torch.where(order >= 0, order, place)
        there = inputs.pick(lambda t: take_tokens(t, order)).replace(index=inputs.index)
        return take_tokens(self.inner(take_tokens(x, order), there), order)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return self.inner.own_state(batch_size, device, dtype)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return self.inner.stream(x, state, inputs)
