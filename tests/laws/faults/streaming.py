"""Faults of streaming."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks
from anyformer.state import State


@breaks("streaming")
class DropsState(Sound):
    """Keeps its state only when tokens come one by one."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] > 1:
            state = self._init_state(x.shape[0], x.device, x.dtype)
        return super()._stream(x, state, inputs)


@breaks("streaming")
class GrowingState(Sound):
    """Declares a constant state and keeps every token."""

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        state = super()._init_state(batch_size, device, dtype)
        return {**state, "tokens": torch.zeros(batch_size, 0, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = super()._stream(x, state, inputs)
        return y, {**new, "tokens": torch.cat([state["tokens"], x], 1)}
