"""Embedders of grids by patches: their size, and padding to a whole number of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.embed._base import Embedder, EmbedderInfo
from anyformer.schema import StreamFacts, Values

MOST_TOKENS = 64
"""Largest number of patches where their size is not given."""
SMALLEST = 2
"""Smallest side of a patch where it is not given."""


class GridEmbedder(Embedder):
    """An embedder of a grid by square patches, in raster order.

    At the far end of an axis that the side of a patch does not divide, the grid is filled up with zeros.
    """

    class Options(Embedder.Options):
        size: int | None = None

        def side(self, facts: StreamFacts) -> int:
            """Return the side of a patch."""
            self.needs(facts, "grid")
            assert facts.size is not None
            if self.size is None:
                return self.default(facts.size)
            if not 1 <= self.size <= max(facts.size):
                raise ValueError(
                    f"embed: size of {self.owner} must be from 1 to {max(facts.size)}, the longest side of the inputs, "
                    f"got {self.size}"
                )
            return self.size

        def default(self, sizes: tuple[int, ...]) -> int:
            """Return the side of a patch where it is not given."""
            raise NotImplementedError

        def info(self, facts: StreamFacts) -> EmbedderInfo:
            grid = patches(facts.size or (), self.side(facts))
            return EmbedderInfo(length=math.prod(grid), grid=grid)

    options: Options

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.size = self.options.side(facts)
        self.channels = sum(field.width or 0 for field in facts.fields)

    def padded(self, values: Values) -> Tensor:
        """Return all fields side by side ``(B, *axes, C)``, with zeros at the far ends up to whole patches."""
        x = torch.cat([values[name] for name in self.facts.names], -1)
        ends = [amount for size in reversed(self.facts.size or ()) for amount in (0, -size % self.size)]
        return pad(x, (0, 0, *ends)) if any(ends) else x


def patches(sizes: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Return the number of patches along each axis, the last one filled up."""
    return tuple(math.ceil(n / side) for n in sizes)


def smallest_side(sizes: tuple[int, ...]) -> int:
    """Return the smallest side of patches from ``SMALLEST`` on with which there are at most ``MOST_TOKENS``."""
    side = SMALLEST
    while math.prod(patches(sizes, side)) > MOST_TOKENS:
        side += 1
    return side
