"""How sublayers share one stream: the residual carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer
from anyformer.layers.norms import create_norm
from anyformer.registry import nearest


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


class Parallel(Residual):
    """All sublayers of a layer read the same normed input: x = x + f(norm(x)) + g(norm(x)) (GPT-J, PaLM)."""

    def __init__(
        self, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
    ) -> None:
        super().__init__(dim, [1] * len(sublayers), norm, eps, last)
        self.layer_of = {sum(sublayers[:layer]): layer for layer in range(len(sublayers))}

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def read(
        self, carry: tuple[Tensor, Tensor], sublayer: int, inputs: Inputs | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x, read = carry
        if sublayer in self.layer_of:
            read = normed(self.norms[self.layer_of[sublayer]], x, inputs)
        return read, (x, read)

    def write(
        self, carry: tuple[Tensor, Tensor], sublayer: int, y: Tensor, inputs: Inputs | None = None
    ) -> tuple[Tensor, Tensor]:
        return carry[0] + y, carry[1]

    def end(self, carry: tuple[Tensor, Tensor], inputs: Inputs | None = None) -> Tensor:
        return normed(self.last, carry[0], inputs)


class Ladder(Residual):
    """Each sublayer reads the stream as it was before the one below wrote (Zhang 2025, eq. 2).

    x_i = x_{i-1} + f_i(norm(x_{i-2})): what the one below has to say may still be under way, from another device,
    while this one works. The first two read the input.
    """

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def read(
        self, carry: tuple[Tensor, Tensor], sublayer: int, inputs: Inputs | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return normed(self.norms[sublayer], carry[0], inputs), carry

    def write(
        self, carry: tuple[Tensor, Tensor], sublayer: int, y: Tensor, inputs: Inputs | None = None
    ) -> tuple[Tensor, Tensor]:
        return carry[1], carry[1] + y

    def end(self, carry: tuple[Tensor, Tensor], inputs: Inputs | None = None) -> Tensor:
        return normed(self.last, carry[1], inputs)


class PathEnsemble(Residual):
    """Pre-norm, the end weighing every sublayer's output by a learned vector (Chang 2023, EnsembleScale).

    The stream before the last norm is x + f_1 + f_2 + ...: an ensemble of 1 + 2L paths. The end is the norm of
    w_0 x + w_1 f_1 + w_2 f_2 + ..., while the sublayers above read the plain sum; with all w = 1, as at the
    start, it is the pre-norm stack. w_i = 0 prunes a path.
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


RESIDUALS: dict[str, type[Residual]] = {
    "ladder": Ladder,
    "parallel": Parallel,
    "path_ensemble": PathEnsemble,
    "post": PostNorm,
    "pre": Residual,
}


def create_residual(
    name: str, dim: int, sublayers: Sequence[int], norm: str, eps: float = 1e-5, last: bool = True
) -> Residual:
    """One of :data:`RESIDUALS`, by name."""
    if name not in RESIDUALS:
        raise ValueError(f"unknown residual {name!r}{nearest(name, list(RESIDUALS))}")
    return RESIDUALS[name](dim, sublayers, norm, eps, last)
