"""Each column of a window at several rates, from coarse to fine."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool1d

from anyformer.embed import register_embedder
from anyformer.embed._windows import WindowEmbedder
from anyformer.layers.linear import Linear
from anyformer.schema import StreamFacts, Values


@register_embedder(
    "multirate",
    examples=[{}, {"coarsest": 5, "rates": 2}, {"rates": 1, "less_last": True, "columns": "targets"}],
)
class Multirate(WindowEmbedder):
    """A token of each column for each rate, of what coarser rates leave of it (Challu et al. 2023, section 3).

    With rates k_1 > k_2 > ... > 1, the largest value of each k steps, and r_1 the series itself:
    x_i = relu(V_i relu(U_i pool(r_i, k_i))) and r_{i+1} = r_i - up(W_i x_i), where W_i tells one value for each k_i
    steps, and up interpolates linearly between their middles. Marks behind the values are pooled and read alike.

    A head reads the x_i side by side, so that a forecast is the sum of a linear map of each. (The paper's forecasts are
    interpolated between fewer values as well.)

    Args:
        coarsest: steps k_1 that the first rate pools; at most a quarter of the window.
        rates: number of rates, whose steps fall geometrically to 1.
    """

    class Options(WindowEmbedder.Options):
        coarsest: int = 8
        rates: int = 3

        def pooled(self, steps: int) -> list[int]:
            """Return the steps that each rate pools."""
            if self.coarsest < 1:
                raise ValueError(f"embed: coarsest of {self.owner} must be at least 1, got {self.coarsest}")
            coarsest = max(1, min(self.coarsest, steps // 4))
            return [round(coarsest ** (1 - i / max(1, self.rates - 1))) for i in range(self.rates)]

        def tokens(self, steps: int) -> int:
            if self.rates < 1:
                raise ValueError(f"embed: rates of {self.owner} must be at least 1, got {self.rates}")
            return self.rates

    options: Options

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.pooled = self.options.pooled(self.window.steps)
        counts = [math.ceil(self.window.steps / pooled) for pooled in self.pooled]
        self.first = nn.ModuleList(Linear(self.numbers * count, dim) for count in counts)
        self.second = nn.ModuleList(Linear(dim, dim) for _ in counts)
        self.back = nn.ModuleList(Linear(dim, count) for count in counts[:-1])

    def forward(self, values: Values) -> Tensor:
        """x ``(B, M * rates, D)`` of checked values."""
        series = self.series(values)
        rest, marks, tokens = series[:, :, :1], series[:, :, 1:], []
        for place, pooled in enumerate(self.pooled):
            read = torch.cat([rest, marks], 2).flatten(0, 1)
            read = max_pool1d(read, pooled, ceil_mode=True).unflatten(0, series.shape[:2]).flatten(2)
            tokens.append(self.second[place](self.first[place](read).relu()).relu())
            if place < len(self.back):
                told = self.back[place](tokens[-1])  # (B, M, values)
                rest = rest - interpolate(told, size=self.window.steps, mode="linear")[:, :, None]
        return torch.stack(tokens, 2).flatten(1, 2)
