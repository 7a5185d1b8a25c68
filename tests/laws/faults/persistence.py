"""Faults of what is written, read and built."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Inputs
from anyformer.laws.faults import Sound, breaks


@breaks("persistence")
class RandomBuffer(Sound):
    """Draws a matrix when built and does not save it."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("draw", torch.randn(dim), persistent=False)

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x * self.draw, initial, inputs)


@breaks("construction")
class ForgottenConstant(Sound):
    """Holds a constant that is neither saved nor made again."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("scale", torch.full((dim,), 1.5), persistent=False)

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x * self.scale, initial, inputs)


@breaks("construction")
class HoldsALambda(Sound):
    """Holds a function that no pickle can name."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.f = lambda x: 2 * x

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(self.f(x), initial, inputs)
