"""The pre-norm carry, and the interface of all carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer
from anyformer.layers.norms import create_norm
from anyformer.stack import register_residual


@register_residual("pre")
class Residual(nn.Module):
    """A residual carry: ``start``, then ``read`` and ``write`` for each sublayer, then ``end``.

    This one is pre-norm (Xiong 2020): y = x + f(norm(x)), with a norm at the end.

    Args:
        dim: width D.
        sublayers: the number of sublayers of each layer.
        norm, eps: name of the norm, and its epsilon.
        last: end with a norm.
    """

    def __init__(
        self, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(create_norm(norm, dim, eps) for _ in range(sum(sublayers)))
        self.last = create_norm(norm if last else "none", dim, eps)

    def start(self, x: Tensor) -> Any:
        """Return the carry before the first sublayer."""
        return x

    def read(self, carry: Any, sublayer: int, inputs: Inputs | None = None) -> tuple[Tensor, Any]:
        """Return the input of a sublayer, and the carry; ``inputs`` are for norms that are mixers."""
        return normed(self.norms[sublayer], carry, inputs), carry

    def write(self, carry: Any, sublayer: int, y: Tensor, inputs: Inputs | None = None) -> Any:
        """Return the carry after a sublayer with output y."""
        return carry + y

    def end(self, carry: Any, inputs: Inputs | None = None) -> Tensor:
        """Return the stack's output."""
        return normed(self.last, carry, inputs)


def normed(norm: nn.Module, x: Tensor, inputs: Inputs | None) -> Tensor:
    """Normalise x; a norm that is a mixer also gets the padding and may add notes."""
    y: Tensor = norm(x, inputs) if isinstance(norm, Mixer) else norm(x)
    return y
