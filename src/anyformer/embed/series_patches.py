"""Patches of each column of a window as tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.embed import register_embedder
from anyformer.embed._windows import WindowEmbedder
from anyformer.layers.linear import Linear
from anyformer.schema import StreamFacts, Values

SIZE = 16
"""Steps of a patch where they are not given and a window has at least four times as many."""


@register_embedder(
    "series_patches", examples=[{}, {"size": 3, "stride": 2}, {"less_last": True, "columns": "targets"}]
)
class SeriesPatches(WindowEmbedder):
    """Patches of consecutive steps of each column as tokens: x_mp = W s_mp + b + e_p (Nie et al. 2023, section 3.1).

    The p-th patch of every column has the position e_p, which is learned, and starts as noise of a standard deviation
    of 0.02. The last patch ends with the window; where the stride does not fit, the first value is repeated in front.
    (The paper repeats the last value behind, ``stride`` times, for one patch more.)

    Args:
        size: steps of a patch; by default 16, or a quarter of the window where that is less.
        stride: steps from one patch to the next, at most ``size``; by default half of ``size``, rounded up.
        positions: add e_p.
    """

    class Options(WindowEmbedder.Options):
        size: int | None = None
        stride: int | None = None
        positions: bool = True

        def patch(self, steps: int) -> tuple[int, int]:
            """Return the steps of a patch and of its stride."""
            size = max(1, min(SIZE, steps // 4)) if self.size is None else self.size
            if not 1 <= size <= steps:
                raise ValueError(
                    f"embed: size of {self.owner} must be from 1 to {steps}, the steps of a window, got {size}"
                )
            stride = (size + 1) // 2 if self.stride is None else self.stride
            if not 1 <= stride <= size:
                raise ValueError(
                    f"embed: stride of {self.owner} must be from 1 to {size}, the steps of a patch, so that none is "
                    f"left out, got {stride}"
                )
            return size, stride

        def tokens(self, steps: int) -> int:
            size, stride = self.patch(steps)
            return math.ceil((steps - size) / stride) + 1

    options: Options

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.size, self.stride = self.options.patch(self.window.steps)
        count = self.options.tokens(self.window.steps)
        self.front = self.size + (count - 1) * self.stride - self.window.steps
        self.project = Linear(self.numbers * self.size, dim)
        self.places = nn.Parameter(0.02 * torch.randn(count, dim)) if self.options.positions else None

    def forward(self, values: Values) -> Tensor:
        """x ``(B, M * P, D)`` of checked values."""
        series = self.series(values)
        if self.front:
            series = pad(series, (self.front, 0, 0, 0), mode="replicate")
        patches = series.unfold(3, self.size, self.stride)
        x = self.project(patches.transpose(2, 3).flatten(3))  # (B, M, P, D)
        return (x if self.places is None else x + self.places).flatten(1, 2)
