"""The pre-norm carry, and the interface of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer
from anyformer.layers.norms import create_norm
from anyformer.stack import register_residual


@register_residual("pre")
class Residual(nn.Module):
    """A carry that runs along a stack: ``start``, then ``read`` and ``write`` for each sublayer, then ``end``.

    This one is pre-norm (Xiong 2020): y = x + f(norm(x)), with a norm at the end.

    Args:
        dim: width D.
        sublayers: for each layer, its number of sublayers.
        norm, eps: name of the norm, and its epsilon.
        last: whether there is a norm at the end.
    """

    def __init__(
        self, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(create_norm(norm, dim, eps) for _ in range(sum(sublayers)))
        self.last = create_norm(norm if last else "none", dim, eps)

    def start(self, x: Tensor) -> Any:
        """The carry before the first sublayer."""
        return x

    def read(self, carry: Any, sublayer: int, inputs: Inputs | None = None) -> tuple[Tensor, Any]:
        """The input of a sublayer, and the carry; ``inputs`` for norms that are mixers."""
        return normed(self.norms[sublayer], carry, inputs), carry

    def write(self, carry: Any, sublayer: int, y: Tensor, inputs: Inputs | None = None) -> Any:
        """The carry after a sublayer has given y."""
        return carry + y

    def end(self, carry: Any, inputs: Inputs | None = None) -> Tensor:
        """The stack's output."""
        return normed(self.last, carry, inputs)


def normed(norm: nn.Module, x: Tensor, inputs: Inputs | None) -> Tensor:
    """x through a norm, which learns of padding, and may take notes, if it is a mixer."""
    y: Tensor = norm(x, inputs) if isinstance(norm, Mixer) else norm(x)
    return y
