"""An example call of an op, and the sizes and tensors from which such calls are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyformer.ops import Choice, choices


class Sizes(NamedTuple):
    """Sizes of an example: batch, heads, tokens, key width, value width."""

    B: int = 2
    H: int = 2
    T: int = 21
    K: int = 4
    V: int = 6


@dataclass(frozen=True)
class OpCase:
    """An example call of an op.

    Attributes:
        op: the name of the function.
        label: what distinguishes this call from others of the op.
        call: takes ``tensors`` by name and returns a tensor, or tensors nested in tuples.
        tensors: the arguments; floats are float64 unless the op has a separate path for float32.
        fixed: names of tensors whose values depend on each other: a law may change their memory layout only.
    """

    op: str
    label: str
    call: Callable[..., Any]
    tensors: Mapping[str, Tensor]
    fixed: frozenset[str] = field(default=frozenset())

    def __str__(self) -> str:
        return f"{self.op}({self.label})" if self.label else self.op

    def at(self, sizes: Sizes) -> OpCase:
        """Return the same call at other sizes."""
        return next(case for case in op_cases(sizes, {self.op}) if case.label == self.label)


class Draw:
    """Random tensors in float64, the same every time."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(3)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, dtype=torch.float64)

    def decay(self, *shape: int) -> Tensor:
        return -self.uniform(*shape)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, max(high, low + 1), shape, generator=self._generator)

    def heads(self, s: Sizes) -> dict[str, Tensor]:
        """Return q, k (B, H, T, K) and v (B, H, T, V)."""
        q, k = (self.normal(s.B, s.H, s.T, s.K) for _ in range(2))
        return {"q": q, "k": k / max(1, s.K) ** 0.5, "v": self.normal(s.B, s.H, s.T, s.V)}

    def grouped(self, s: Sizes) -> dict[str, Tensor]:
        """Return q (B, 2H, T, K), k (B, H, T, K) and v (B, H, T, V)."""
        return {**self.heads(s), "q": self.normal(s.B, 2 * s.H, s.T, s.K)}


Family = Callable[[Draw, Sizes], list[OpCase]]
FAMILIES: list[Family] = []
"""Makers of example calls, each for one or several ops."""


def op_family(make: Family) -> Family:
    """Decorator: register a maker of example calls."""
    FAMILIES.append(make)
    return make


def op_cases(sizes: Sizes | None = None, ops: set[str] | None = None) -> list[OpCase]:
    """Return the example calls of every op, or of those named in ``ops``."""
    s = sizes or Sizes()
    return [case for make in FAMILIES for case in make(Draw(), s) if ops is None or case.op in ops]


def path_of(name: str, sizes: Sizes, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Choice:
    """Run the first example of an op without gradients; returns the path that it took, and the reason."""
    case = op_cases(sizes, {name})[0]
    tensors = {n: t.to(device, dtype if t.is_floating_point() else t.dtype) for n, t in case.tensors.items()}
    with torch.no_grad(), choices() as taken:
        case.call(**tensors)
    return next(choice for choice in taken if choice.op == name)
