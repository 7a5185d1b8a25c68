"""Faults of cost."""

from __future__ import annotations

from torch import Tensor

from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks


@breaks("cost")
class SecretlyQuadratic(Sound):
    """Declares linear cost and builds all pairs."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) + 0 * (x @ x.transpose(1, 2) @ x)
