"""Square patches of a grid as tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from anyformer.embed import register_embedder
from anyformer.embed._grids import GridEmbedder, smallest_side
from anyformer.layers.grid import join_cells
from anyformer.layers.linear import Linear
from anyformer.schema import StreamFacts, Values


@register_embedder("patches", examples=[{}, {"size": 3}])
class Patches(GridEmbedder):
    """Patches of a grid as tokens, each flattened and mapped: x_t = E patch_t + b (Dosovitskiy et al. 2021, eq. 1).

    Args:
        size: side of a patch; by default the smallest from 2 on with which there are at most 64 patches, or, if it does
            not divide all axes and one below twice as large does, that one.
    """

    class Options(GridEmbedder.Options):
        def default(self, sizes: tuple[int, ...]) -> int:
            side = smallest_side(sizes)
            return next((p for p in range(side, 2 * side) if not any(n % p for n in sizes)), side)

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.project = Linear(self.size ** len(facts.size or ()) * self.channels, dim)

    def forward(self, values: Values) -> Tensor:
        """x ``(B, T, D)`` of checked values."""
        x = join_cells(self.padded(values), self.size)
        return self.project(x.flatten(1, -2))
