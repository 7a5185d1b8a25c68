"""Each column of a window as one token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from anyformer.embed import register_embedder
from anyformer.embed._windows import WindowEmbedder
from anyformer.layers.linear import Linear
from anyformer.schema import StreamFacts, Values


@register_embedder(
    "variates", examples=[{}, {"trend": 4, "columns": "targets"}, {"less_last": True, "columns": "targets"}]
)
class Variates(WindowEmbedder):
    """Each column of a window as a token: x_m = W s_m + b of its whole series s_m (Liu et al. 2023, section 3.1).

    With ``trend``, the series is told apart into a moving average t_m and the rest (Wu et al. 2021, section 3.1; Zeng
    et al. 2023, section 4), each with its own map: x_m = W_r (s_m - t_m) + W_t t_m + b. At the ends, the first and the
    last value are repeated.

    Args:
        trend: number of steps of the moving average; None for none.
    """

    class Options(WindowEmbedder.Options):
        trend: int | None = None

        def tokens(self, steps: int) -> int:
            if self.trend is not None and self.trend < 2:
                raise ValueError(f"embed: trend of {self.owner} must be at least 2 steps, got {self.trend}")
            return 1

    options: Options

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        parts = self.numbers + (self.options.trend is not None)
        self.project = Linear(parts * self.window.steps, dim)

    def forward(self, values: Values) -> Tensor:
        """x ``(B, M, D)`` of checked values."""
        x = self.series(values)
        if self.options.trend is not None:
            trend = moving_average(x[:, :, 0], self.options.trend)
            x = torch.cat([x[:, :, :1] - trend[:, :, None], trend[:, :, None], x[:, :, 1:]], 2)
        return self.project(x.flatten(2))


def moving_average(x: Tensor, steps: int) -> Tensor:
    """Return the mean over ``steps`` steps around each, ``(..., T)``, the first and the last value repeated."""
    before = (steps - 1) // 2
    wide = pad(x, (before, steps - 1 - before), mode="replicate")
    return avg_pool1d(wide, steps, stride=1)
