"""The ladder carry."""

from __future__ import annotations

from torch import Tensor

from anyformer.contract import Inputs
from anyformer.stack import register_residual
from anyformer.stack.pre import Residual, normed


@register_residual("ladder")
class Ladder(Residual):
    """Each sublayer reads the stream without the output of the one below it (Zhang 2025, eq. 2).

    x_i = x_{i-1} + f_i(norm(x_{i-2})): the communication of a sublayer's output between devices overlaps with the
    computation of the next. The first two sublayers read the input.
    """

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def read(
        self, carry: tuple[Tensor, Tensor], sublayer: int, inputs: Inputs | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return normed(self.norms[sublayer], carry[0], inputs), carry

    def write(
        self, carry: tuple[Tensor, Tensor], sublayer: int, y: Tensor, inputs: Inputs | None = None
    ) -> tuple[Tensor, Tensor]:
        return carry[1], carry[1] + y

    def end(self, carry: tuple[Tensor, Tensor], inputs: Inputs | None = None) -> Tensor:
        return normed(self.last, carry[1], inputs)
