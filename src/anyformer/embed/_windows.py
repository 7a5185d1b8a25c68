"""Embedders of windows of series, of which answers are read for each target from its own tokens."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from anyformer.embed._base import Embedder, EmbedderInfo, Sites
from anyformer.schema import SeriesWindow, StreamFacts, Values


class WindowEmbedder(Embedder):
    """An embedder that gives each column of a window tokens of its own: a grid of columns by tokens, in raster order.

    A head reads all tokens of a target side by side, and gives the values that follow it; all targets share it.

    Args:
        columns: ``all`` of the window, for models that mix them, or the ``targets`` alone.
        less_last: take each column's last value from its window, and add it to its answers (the normalisation of
            NLinear, Zeng et al. 2023, section 4).
    """

    class Options(Embedder.Options):
        columns: Literal["all", "targets"] = "all"
        less_last: bool = False

        def window(self, facts: StreamFacts) -> SeriesWindow:
            """Return the window; raise ``ValueError`` for other streams."""
            if self.columns not in ("all", "targets"):
                raise ValueError(
                    f"embed: columns of {self.owner} must be all or targets, got {self.columns!r}"
                )
            if facts.window is None:
                raise ValueError(
                    f"embed: {self.owner} embeds windows of series that are forecast from their numbers alone, and "
                    "these inputs are other data, or have columns that are known ahead, static or categories"
                )
            return facts.window

        def places(self, facts: StreamFacts) -> list[int]:
            """Return the columns that are embedded."""
            window = self.window(facts)
            return list(range(window.columns)) if self.columns == "all" else window.targets

        def tokens(self, steps: int) -> int:
            """Return the number of tokens of each column."""
            raise NotImplementedError

        def info(self, facts: StreamFacts) -> EmbedderInfo:
            window, tokens = self.window(facts), self.tokens(self.window(facts).steps)
            grid = (len(self.places(facts)), tokens)
            return EmbedderInfo(math.prod(grid), grid, Sites(len(window.targets), tokens))

    options: Options

    def __init__(self, facts: StreamFacts, dim: int, *known: Any, **options: Any) -> None:
        super().__init__(facts, dim, *known, **options)
        self.window = self.options.window(facts)
        self.columns = self.options.places(facts)
        self.targets = [self.columns.index(target) for target in self.window.targets]
        self.numbers = (facts.fields[0].width or 0) // self.window.columns
        """Numbers of each column at a step: its value, and marks behind it."""

    def series(self, values: Values) -> Tensor:
        """Return the columns that are embedded, ``(B, M, k, steps)``.

        Raises:
            ValueError: the window has not the length for which the embedder was built.
        """
        x = values[self.facts.names[0]]
        if x.shape[1] != self.window.steps:
            raise ValueError(
                f"x must be windows of {self.window.steps} steps for this model, got {x.shape[1]}"
            )
        found = x.unflatten(2, (self.numbers, self.window.columns))[..., self.columns].permute(0, 3, 2, 1)
        if not self.options.less_last:
            return found
        value = found[:, :, :1]
        return torch.cat([value - value[..., -1:], found[:, :, 1:]], 2)

    def read(self, h: Tensor) -> Tensor:
        """The tokens of each target side by side, ``(B, N, tokens * D)``."""
        return h.unflatten(1, (len(self.columns), -1))[:, self.targets].flatten(2)

    def answer(self, outputs: Tensor, values: Values) -> Tensor:
        """Outputs ``(B, horizon * N * Q)`` of the next values of each target ``(B, N, horizon * Q)``."""
        ahead = outputs.unflatten(2, (self.window.horizon, -1))
        if self.options.less_last:
            last = values[self.facts.names[0]][:, -1, self.window.targets]
            ahead = ahead + last[:, :, None, None]
        return ahead.transpose(1, 2).flatten(1)
