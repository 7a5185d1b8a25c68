"""The post-norm carry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from anyformer.contract import Inputs
from anyformer.stack import register_residual
from anyformer.stack.pre import Residual, normed


@register_residual("post")
class PostNorm(Residual):
    """x = norm(x + f(x)), the order of Vaswani 2017."""

    def __init__(
        self, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
    ) -> None:
        super().__init__(dim, sublayers, norm, eps, last=False)

    def read(self, carry: Tensor, sublayer: int, inputs: Inputs | None = None) -> tuple[Tensor, Tensor]:
        return carry, carry

    def write(self, carry: Tensor, sublayer: int, y: Tensor, inputs: Inputs | None = None) -> Tensor:
        return normed(self.norms[sublayer], carry + y, inputs)
