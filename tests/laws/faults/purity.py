"""Faults of purity."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks
from anyformer.state import State


@breaks("independence")
class DependsOnBatch(Sound):
    """Normalises over the batch."""

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        if x.shape[0] > 1 and inputs.mask is None:
            x = x / x.detach().std(0, keepdim=True).clamp_min(1e-3)
        return super()._run(x, initial, inputs)


@breaks("purity")
class WritesBuffer(Sound):
    """Counts its calls in a buffer."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("calls", torch.zeros(()))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if not torch.compiler.is_compiling():
            self.calls += 1
        return super()._forward(x, inputs)


@breaks("purity")
class WritesState(Sound):
    """Updates the state that it was given in place."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = super()._stream(x, state, inputs)
        if not torch.is_grad_enabled() and x.shape[1] == 10:
            state["h"].copy_(new["h"])
        return y, new


@breaks("modes")
class OtherInTraining(Sound):
    """Scales its output in training."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) * (2.0 if self.training else 1.0)
