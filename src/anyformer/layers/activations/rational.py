"""Learned rational functions of groups of channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.layers.activations import register_activation
from anyformer.layers.activations._polynomial import horner
from anyformer.options import Part, PartOptions
from anyformer.precision import widen
from anyformer.registry import nearest

# Least-squares fits of x / 2 + (an even function) on [-3, 3], within 2.3e-3 of gelu and 1.1e-6 of silu.
RATIONAL_STARTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "identity": ((0.0, 1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    "gelu": (
        (-0.0011760675, 0.5, 0.4075962837, 0.1058806444, 0.0083131823, 0.0),
        (0.0, 0.2117612888, 0.0, 0.0),
    ),
    "silu": (
        (0.0, 0.5, 0.2499973106, 0.0532634163, 0.005801736, 0.0002750236),
        (0.0, 0.1065268327, 0.0, 0.0005500473),
    ),
}


@register_activation("rational")
class Rational(Part, nn.Module):
    """A learned safe Padé function per group of channels (Yang 2024, section 4).

    F(x) = (a_0 + a_1 x + ... + a_5 x^5) / (1 + abs(b_1 x + ... + b_4 x^4)). All groups share the numerator; each
    group has its own denominator, as in the authors' released layer.

    Powers are computed in float32 at least, as in :class:`~anyformer.layers.activations.poly_norm.PolyNorm`.

    The derivative of abs at 0 is defined as 1 instead of 0: else b would stay 0 with ``start="identity"``.

    Args:
        dim: channels.
        groups: groups of neighbouring channels, a divisor of dim.
        start: initial function, ``identity``, ``gelu`` or ``silu``, as fitted on [-3, 3].
    """

    class Options(PartOptions):
        groups: int = 8
        start: str = "silu"

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__()
        self.options = o = self.Options.read(options)
        if o.groups < 1 or dim % o.groups:
            raise ValueError(f"groups must divide the {dim} channels, got {o.groups}")
        if o.start not in RATIONAL_STARTS:
            raise ValueError(f"unknown start {o.start!r}{nearest(o.start, list(RATIONAL_STARTS))}")
        above, below = RATIONAL_STARTS[o.start]
        self.groups = o.groups
        self.numerator = nn.Parameter(torch.tensor(above))
        self.denominator = nn.Parameter(torch.tensor(below).repeat(o.groups, 1))

    def forward(self, x: Tensor) -> Tensor:
        grouped = widen(x).unflatten(-1, (self.groups, -1))
        below = grouped * horner(grouped, self.denominator.mT[..., None])
        below = 1 + torch.where(below < 0, -below, below)
        return (horner(grouped, self.numerator) / below).flatten(-2).to(x.dtype)

    @torch.no_grad()
    def gain(self) -> float:
        """Return E[F(x)^2] for standard normal x: next weights of variance 1 / (gain * inputs) keep the variance."""
        x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        density = torch.exp(-x.square() / 2)
        a, b = self.numerator.double(), self.denominator[0].double()
        y = horner(x, a) / (1 + (x * horner(x, b)).abs())
        return float((y.square() * density).sum() / density.sum())
