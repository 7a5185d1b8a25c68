"""A learned polynomial of the ReLU."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import relu

from anyformer.layers.activations import register_activation
from anyformer.layers.activations._polynomial import horner, start
from anyformer.options import Part, PartOptions
from anyformer.precision import widen


@register_activation("poly_relu")
class PolyReLU(Part, nn.Module):
    """sum_{i=0..r} a_i relu(x)^i with learned a (Zhuo 2024, section 2), powers in float32 at least.

    Args:
        dim: channels; unused, as all share one polynomial.
        order: r. At the start a_0 = 0 and a_i = 1 / r.
    """

    class Options(PartOptions):
        order: int = 3

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__()
        self.options = o = self.Options.read(options)
        self.coefficients = nn.Parameter(start(o.order))

    def forward(self, x: Tensor) -> Tensor:
        return horner(relu(widen(x)), self.coefficients).to(x.dtype)
