"""Parallel sublayers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from anyformer.contract import Inputs
from anyformer.stack import register_residual
from anyformer.stack.pre import Residual, normed


@register_residual("parallel")
class Parallel(Residual):
    """All sublayers of a layer read the same normed input: x = x + f(norm(x)) + g(norm(x)) (GPT-J, PaLM)."""

    def __init__(
        self, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
    ) -> None:
        super().__init__(dim, [1] * len(sublayers), norm, eps, last)
        self.layer_of = {sum(sublayers[:layer]): layer for layer in range(len(sublayers))}

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def read(
        self, carry: tuple[Tensor, Tensor], sublayer: int, inputs: Inputs | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x, read = carry
        if sublayer in self.layer_of:
            read = normed(self.norms[self.layer_of[sublayer]], x, inputs)
        return read, (x, read)

    def write(
        self, carry: tuple[Tensor, Tensor], sublayer: int, y: Tensor, inputs: Inputs | None = None
    ) -> tuple[Tensor, Tensor]:
        return carry[0] + y, carry[1]

    def end(self, carry: tuple[Tensor, Tensor], inputs: Inputs | None = None) -> Tensor:
        return normed(self.last, carry[0], inputs)
