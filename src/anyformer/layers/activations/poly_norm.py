"""A learned polynomial of normalised powers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from anyformer.layers.activations import register_activation
from anyformer.layers.activations._polynomial import start
from anyformer.options import Part, PartOptions
from anyformer.precision import widen


@register_activation("poly_norm")
class PolyNorm(Part, nn.Module):
    """a_0 + sum_{i=1..r} a_i x^i / rms(x^i) with learned a, the norm over the channels (Zhuo 2024, section 2).

    Powers are computed in float32 at least, where x^3 of a large half-precision number does not overflow.

    Args:
        dim: channels; unused.
        order: r. At the start a_0 = 0 and a_i = 1 / r.
        eps: added to the mean square of every power.
    """

    class Options(PartOptions):
        order: int = 3
        eps: float = 1e-6

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__()
        self.options = o = self.Options.read(options)
        self.coefficients, self.eps = nn.Parameter(start(o.order)), o.eps

    def forward(self, x: Tensor) -> Tensor:
        wide = widen(x)
        power, y = wide, self.coefficients[0].expand_as(wide)
        for a in self.coefficients[1:]:
            y = y + a * power * (power.square().mean(-1, keepdim=True) + self.eps).rsqrt()
            power = power * wide
        return y.to(x.dtype)
