"""Stacks on ever coarser grids."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Wrapper
from anyformer.layers.grid import Grid, fold, join_cells, read_grid, spread, unfold
from anyformer.layers.linear import Linear
from anyformer.stack import combine
from anyformer.wrappers import register_wrapper
from anyformer.wrappers.two_level import plain


@register_wrapper("pyramid")
class Pyramid(Wrapper):
    """Stages, each on a grid coarser and wider than the one before; all are read at each token.

    A linear map joins the factor x factor x ... cells of a block to one of the next stage (patch merging, Liu et al.
    2021, Swin, section 3.1). With z_k of stage k at the cell that holds token t::

        z_1 = stage_1(W x),  z_{k+1} = stage_{k+1}(join_k(z_k)),  y_t = z_n + U_1 z_1 + ... + U_{n-1} z_{n-1}

    The last stage has the model's width, so that a head on the mean of y reads the mean of that stage whole, beside
    what the others add to it.

    Args:
        stages: two or more, n, from the finest up; their widths are D / widen^(n-1), ..., D / widen, D.
        grid: sizes of all axes but the first, see :mod:`anyformer.layers.grid`; ``None`` for a sequence.
        factor: cells that are joined, on each axis.
        widen: the width of a stage divided by that of the one before.
    """

    class Options(Wrapper.Options):
        grid: Grid | None = None
        factor: int = 2
        widen: int = 2

        def info(self, *stages: MixerInfo) -> MixerInfo:
            if len(stages) < 2:
                raise ValueError(
                    f"pyramid needs two or more stages, such as pyramid([a], [b]), got {len(stages)}"
                )
            for name, value, least in (("factor", self.factor, 2), ("widen", self.widen, 1)):
                if value < least:
                    raise ValueError(f"{name} must be at least {least}, got {value}")
            limits = [
                self.tokens(k, info.max_length)
                for k, info in enumerate(stages)
                if info.max_length is not None
            ]
            every = combine(stages)
            return dataclasses.replace(
                every,
                side={},
                reach=(None, None),
                state="none",
                grid=self.grid is not None or every.grid,
                numbers_tokens=True,
                max_length=min(limits, default=None),
            )

        def inside(
            self, stack: int, stacks: int, dim: int, grid: tuple[int, ...] | None
        ) -> tuple[int, tuple[int, ...] | None]:
            if dim % self.widen ** (stacks - 1):
                raise ValueError(
                    f"dim must be divisible by {self.widen ** (stacks - 1)} for a pyramid of {stacks} stages, got {dim}"
                )
            width = dim // self.widen ** (stacks - 1 - stack)
            return width, None if grid is None else coarser(grid, self.factor**stack)

        def tokens(self, stage: int, cells: int) -> int:
            """Return the most tokens of which so many cells of a stage are made."""
            sizes, joined = () if self.grid is None else read_grid(self.grid), self.factor**stage
            return cells // math.prod(coarser(sizes, joined)) * joined * math.prod(sizes)

    options: Options

    def __init__(self, dim: int, *stages: Mixer, **options: Any) -> None:
        super().__init__(dim, *stages, **options)
        o = self.options
        self.stages, self.factor = nn.ModuleList(stages), o.factor
        self.takes = [name for stage in stages for name in stage.info.side]
        self.sizes = () if o.grid is None else read_grid(o.grid)
        for k, stage in enumerate(stages):
            width, _ = o.inside(k, len(stages), dim, None)
            if stage.dim != width:
                raise ValueError(f"stage {k + 1} must have width {width}, got {stage.dim}")
        cells = o.factor ** (len(self.sizes) + 1)
        self.into = Linear(dim, stages[0].dim)
        self.join = nn.ModuleList(Linear(cells * a.dim, b.dim) for a, b in pairwise(stages))
        self.out = nn.ModuleList(Linear(stage.dim, dim) for stage in stages[:-1])

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        call = inputs.inside("pyramid", self.takes)
        return self._stage(0, self.into(x), inputs.replace(call=call), self.sizes)

    def _stage(self, k: int, x: Tensor, inputs: Inputs, sizes: tuple[int, ...]) -> Tensor:
        """Return what a stage of x (B, T, D_k) and those after it give its tokens: (B, T, D).

        ``sizes`` are those of its grid but the first.
        """
        z: Tensor = self.stages[k](x, inputs)
        if k + 1 == len(self.stages):
            return z
        cells = fold(z, sizes)
        blocks = self.join[k](join_cells(cells, self.factor))
        B, *above, _ = blocks.shape
        whole = inputs.mask is None and x.shape[1] % math.prod(sizes) == 0
        mask = None if whole else self._any_real(_real(x, inputs), sizes)
        inner = plain(inputs, B, math.prod(above), mask, inputs.call)
        coarse = self._stage(k + 1, blocks.flatten(1, -2), inner, tuple(above[1:]))
        back = spread(coarse.reshape(B, *above, -1), self.factor, cells.shape[1:-1])
        return self.out[k](z) + unfold(back, x.shape[1], sizes)

    def _any_real(self, mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
        """Return which blocks hold a real token of mask (B, T): (B, blocks)."""
        cells = fold(mask, sizes)[..., None]
        return join_cells(cells, self.factor).any(-1).flatten(1)


def _real(x: Tensor, inputs: Inputs) -> Tensor:
    return x.new_ones(x.shape[:2], dtype=torch.bool) if inputs.mask is None else inputs.mask


def coarser(sizes: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Return the sizes of a grid whose blocks of ``factor`` cells on each axis are joined."""
    return tuple(-(-size // factor) for size in sizes)
