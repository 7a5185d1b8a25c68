"""The carry with a learned weight of every sublayer's output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs
from anyformer.stack import register_residual
from anyformer.stack.pre import Residual, normed


@register_residual("path_ensemble")
class PathEnsemble(Residual):
    """Pre-norm with a learned vector of weights per sublayer in the final sum (Chang 2023, EnsembleScale).

    The stream before the last norm is x + f_1 + f_2 + ..., an ensemble of 1 + 2L paths. The output is the norm of
    w_0 x + w_1 f_1 + w_2 f_2 + ..., while sublayers read the unweighted sums; all w = 1, the initial value, is the
    pre-norm stack, and w_i = 0 prunes a path.
    """

    def __init__(
        self, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
    ) -> None:
        super().__init__(dim, sublayers, norm, eps, last)
        self.path_weights = nn.Parameter(torch.ones(sum(sublayers) + 1, dim))

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.path_weights[0] * x

    def read(
        self, carry: tuple[Tensor, Tensor], sublayer: int, inputs: Inputs | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return normed(self.norms[sublayer], carry[0], inputs), carry

    def write(
        self, carry: tuple[Tensor, Tensor], sublayer: int, y: Tensor, inputs: Inputs | None = None
    ) -> tuple[Tensor, Tensor]:
        return carry[0] + y, carry[1] + self.path_weights[sublayer + 1] * y

    def end(self, carry: tuple[Tensor, Tensor], inputs: Inputs | None = None) -> Tensor:
        return normed(self.last, carry[1], inputs)
