"""A gate by a softmax over the channels."""

from __future__ import annotations

from torch import Tensor

from anyformer.layers.linear import Linear
from anyformer.precision import widen


class SoftmaxGate(Linear):
    """x * softmax(A x + b) over the last axis: TSMixer's gated attention (Ekambaram et al. 2023, section 3.2).

    Args:
        size: length of the axis.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Return x ``(..., size)`` gated."""
        return x * widen(super().forward(x)).softmax(-1).to(x.dtype)
