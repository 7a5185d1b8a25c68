"""Activations by name: plain functions, and those that learn their own shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, silu

from anyformer.precision import widen
from anyformer.registry import nearest

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate="tanh"),
    "identity": lambda x: x,
    "relu": relu,
    "relu2": lambda x: relu(x).square(),
    "sigmoid": torch.sigmoid,
    "silu": silu,
}


class Activation(nn.Module):
    """A function of :data:`FUNCTIONS` as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return FUNCTIONS[self.name](x)

    def extra_repr(self) -> str:
        return self.name


class PolyReLU(nn.Module):
    """sum_{i=0..r} a_i relu(x)^i with learned a (Zhuo 2024, section 2), the powers in float32 or wider.

    Args:
        dim: channels; unused, as one polynomial serves all.
        order: r. At the start a_0 = 0 and a_i = 1 / r.
    """

    def __init__(self, dim: int, *, order: int = 3) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(_start(order))

    def forward(self, x: Tensor) -> Tensor:
        return _horner(relu(widen(x)), self.coefficients).to(x.dtype)


class PolyNorm(nn.Module):
    """a_0 + sum_{i=1..r} a_i x^i / rms(x^i) with learned a, the norm over the channels (Zhuo 2024, section 2).

    Powers are taken in float32 or wider, where x^3 of a large half-precision number does not overflow.

    Args:
        dim: channels; unused.
        order: r. At the start a_0 = 0 and a_i = 1 / r.
        eps: added to the mean square of every power.
    """

    def __init__(self, dim: int, *, order: int = 3, eps: float = 1e-6) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(_start(order))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = widen(x)
        power, y = wide, self.coefficients[0].expand_as(wide)
        for a in self.coefficients[1:]:
            y = y + a * power * (power.square().mean(-1, keepdim=True) + self.eps).rsqrt()
            power = power * wide
        return y.to(x.dtype)


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


class Rational(nn.Module):
    """A learned safe Padé function of each channel, the same within a group of channels (Yang 2024, section 4).

    F(x) = (a_0 + a_1 x + ... + a_5 x^5) / (1 + abs(b_1 x + ... + b_4 x^4)). The numerator is shared by all groups
    and each group has its own denominator, as in the authors' released layer.

    Powers are taken in float32 or wider, as in :class:`PolyNorm`.

    The derivative of abs at 0 is taken as 1 instead of 0: else the identity start, whose b is 0, would never leave it.

    Args:
        dim: channels.
        groups: groups of neighbouring channels, a divisor of dim.
        start: what it is at first, ``identity``, ``gelu`` or ``silu``, as fitted on [-3, 3].
    """

    def __init__(self, dim: int, *, groups: int = 8, start: str = "silu") -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            raise ValueError(f"groups must divide the {dim} channels, got {groups}")
        if start not in RATIONAL_STARTS:
            raise ValueError(f"unknown start {start!r}{nearest(start, list(RATIONAL_STARTS))}")
        above, below = RATIONAL_STARTS[start]
        self.groups = groups
        self.numerator = nn.Parameter(torch.tensor(above))
        self.denominator = nn.Parameter(torch.tensor(below).repeat(groups, 1))

    def forward(self, x: Tensor) -> Tensor:
        grouped = widen(x).unflatten(-1, (self.groups, -1))
        below = grouped * _horner(grouped, self.denominator.mT[..., None])
        below = 1 + torch.where(below < 0, -below, below)
        return (_horner(grouped, self.numerator) / below).flatten(-2).to(x.dtype)

    @torch.no_grad()
    def gain(self) -> float:
        """E[F(x)^2] for standard normal x: maps behind it with variance 1 / (gain * inputs) keep the variance."""
        x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        density = torch.exp(-x.square() / 2)
        a, b = self.numerator.double(), self.denominator[0].double()
        y = _horner(x, a) / (1 + (x * _horner(x, b)).abs())
        return float((y.square() * density).sum() / density.sum())


LEARNED: dict[str, Callable[..., nn.Module]] = {
    "poly_norm": PolyNorm,
    "poly_relu": PolyReLU,
    "rational": Rational,
}


def create_activation(activation: str | Mapping[str, Any], dim: int) -> nn.Module:
    """An activation over ``dim`` channels, by name or as ``{"name": ..., option: ...}``.

    Raises:
        ValueError: for an unknown name, with the nearest ones, or an option that it does not have.
    """
    given: dict[str, Any] = {"name": activation} if isinstance(activation, str) else dict(activation)
    name = given.pop("name", None)
    options = {**given.pop("options", {}), **{k: v for k, v in given.items() if k not in ("tag", "inner")}}
    if name not in FUNCTIONS and name not in LEARNED:
        raise ValueError(f"unknown activation {name!r}{nearest(str(name), [*FUNCTIONS, *LEARNED])}")
    known = set() if name in FUNCTIONS else set(inspect.signature(LEARNED[name]).parameters) - {"dim"}
    for option in options:
        if option not in known:
            raise ValueError(
                f"activation {name!r} has no option {option!r}{nearest(option, sorted(known)) if known else ''}"
            )
    return Activation(name) if name in FUNCTIONS else LEARNED[name](dim, **options)


def _start(order: int) -> Tensor:
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    return torch.tensor([0.0] + [1 / order] * order)


def _horner(x: Tensor, coefficients: Tensor) -> Tensor:
    """c_0 + c_1 x + c_2 x^2 + ..., with c along the first axis."""
    y = coefficients[-1].expand_as(x)
    for c in coefficients[:-1].flip(0):
        y = y * x + c
    return y
