"""Patches of an image by a few convolutions."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from anyformer.embed import register_embedder
from anyformer.embed._base import EmbedderInfo
from anyformer.embed._grids import GridEmbedder, smallest_side
from anyformer.schema import StreamFacts, Values


@register_embedder("convolutions", examples=[{}, {"size": 2}])
class Convolutions(GridEmbedder):
    """Patches of an image as tokens, by 3 x 3 convolutions that halve the sides (Xiao et al. 2021, section 4).

    Channels double from one convolution to the next, the last has D, and a 1 x 1 convolution follows. Norms are over
    all channels and places of a sample, where the paper's are over the batch.

    Args:
        size: the factor by which the sides shrink, a power of two; by default the smallest with which there are at
            most 64 tokens.
    """

    class Options(GridEmbedder.Options):
        def default(self, sizes: tuple[int, ...]) -> int:
            return 2 ** (smallest_side(sizes) - 1).bit_length()

        def info(self, facts: StreamFacts) -> EmbedderInfo:
            found, side = super().info(facts), self.side(facts)
            if found.grid is None or len(found.grid) != 2:
                raise ValueError(f"embed: {self.owner} embeds grids of two axes, got {facts.size}")
            if side < 2 or side & (side - 1):
                raise ValueError(f"embed: size of {self.owner} must be a power of two from 2 on, got {side}")
            return found

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        steps, before = self.size.bit_length() - 1, self.channels
        parts: list[nn.Module] = []
        for step in range(1, steps + 1):
            width = max(1, dim // 2 ** (steps - step))
            parts += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.GroupNorm(1, width), nn.ReLU()]
            before = width
        self.stem = nn.Sequential(*parts, nn.Conv2d(before, dim, 1))

    def forward(self, values: Values) -> Tensor:
        """x ``(B, T, D)`` of checked values."""
        x: Tensor = self.stem(self.padded(values).movedim(-1, 1))
        return x.flatten(2).mT
