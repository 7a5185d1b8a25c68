"""A short convolution of each channel over the cells around."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, pad

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.grid import Grid, fold, read_grid, unfold
from anyformer.mixers import register_mixer

CONVOLUTIONS = (conv1d, conv2d, conv3d)
"""PyTorch's functions, by the number of axes."""


@register_mixer(
    "depthwise_conv",
    examples=[
        {"window": 3, "causal": False},
        {"window": 3, "grid": 4, "causal": False},
        {"window": 3, "grid": "2x3", "causal": False},
    ],
)
class DepthwiseConv(Mixer):
    """y_t = b + sum over the window x window x ... cells s around t of w_{s - t} * x_s (Liu et al. 2022, ConvNeXt).

    Each channel has its own taps; the MLP between channels is the channel mixer of the layer. Cells outside are zero.

    Args:
        window: taps on each axis; odd.
        grid: the sizes of all axes but the first, at most two of them, see :mod:`anyformer.layers.grid`; ``None`` for a
            sequence.
    """

    class Options(Mixer.Options):
        window: int = 7
        grid: Grid | None = None
        causal: bool = False

        def sizes(self) -> tuple[int, ...]:
            """Return the sizes of all axes but the first."""
            return () if self.grid is None else read_grid(self.grid)

        def info(self) -> MixerInfo:
            self.needs_causal(False, "its window is centred; conv_module has a causal one")
            if self.window < 1 or self.window % 2 == 0:
                raise ValueError(f"window must be odd and positive, got {self.window}")
            sizes = self.sizes()
            if len(sizes) >= len(CONVOLUTIONS):
                raise ValueError(f"grid must have at most {len(CONVOLUTIONS)} axes, got {len(sizes) + 1}")
            far = self.window // 2 * sum(math.prod(sizes[axis:]) for axis in range(len(sizes) + 1))
            return MixerInfo(reach=(far, far), grid=self.grid is not None)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.sizes, self.window = self.options.sizes(), self.options.window
        axes = len(self.sizes) + 1
        bound = self.window ** (-axes / 2)  # PyTorch's default for a depthwise convolution
        self.weight = nn.Parameter(torch.empty(dim, 1, *[self.window] * axes).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        cells = fold(x, self.sizes).movedim(-1, 1)
        half = self.window // 2
        y = CONVOLUTIONS[len(self.sizes)](
            pad(cells, (half, half) * (len(self.sizes) + 1)),
            self.weight.to(x.dtype),
            self.bias.to(x.dtype),
            groups=self.dim,
        ).movedim(1, -1)
        return unfold(y, x.shape[1], self.sizes)
