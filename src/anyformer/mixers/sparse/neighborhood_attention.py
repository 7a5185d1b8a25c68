"""Neighbourhood attention, optionally dilated."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.grid import Grid, neighbors, read_grid
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.gathered_attention import gathered_attention


@register_mixer(
    "neighborhood_attention",
    examples=[
        {"window": 3, "causal": False},
        {"window": 3, "dilation": 2, "grid": 4, "causal": False},
        {"window": 3, "dilation": 3, "grid": "2x3", "causal": False},
    ],
)
class NeighborhoodAttention(Mixer):
    """Attention of each grid cell to its window x window nearest cells (Hassani 2022, eq. 3-5).

    At borders the window is shifted inside. A dilation d runs it on each of the d x d interleaved grids separately. A
    learned bias per head and offset (in steps of d) is added to the scores.

    Args:
        num_heads: heads H.
        window: neighbours on each axis, the cell included; odd.
        dilation: d.
        grid: the sizes of all axes but the first, see :mod:`anyformer.layers.grid`; ``None`` for a sequence.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        window: int = 7
        dilation: int = 1
        grid: Grid | None = None
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "a window at a border is shifted inside")
            if self.window < 1 or self.window % 2 == 0 or self.dilation < 1:
                raise ValueError(
                    f"window must be odd and dilation positive, got {self.window} and {self.dilation}"
                )
            cells = 1 if self.grid is None else math.prod(read_grid(self.grid))
            far = (self.window - 1) * self.dilation * cells + cells - 1
            return MixerInfo(reach=(far, far), grid=self.grid is not None)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, None)
        self.num_heads, self.window, self.dilation = o.num_heads, o.window, o.dilation
        self.sizes = () if o.grid is None else read_grid(o.grid)
        self.q, self.k, self.v, self.out = (Linear(dim, dim) for _ in range(4))
        table = (o.num_heads, *(2 * o.window - 1,) * (1 + len(self.sizes)))
        self.bias = nn.Parameter(torch.randn(table) * 0.02)
        self.head_dim = K

    def _attend(self, x: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        q, k = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k))
        index = torch.arange(x.shape[1], device=x.device)
        lengths = inputs.lengths if inputs.mask is not None else inputs.lengths[:1]
        slots, apart = neighbors(index, lengths, self.sizes, self.window, self.dilation)
        bias = self.bias.flatten(1)[:, apart].transpose(0, 1)
        y: Tensor = gathered_attention(q, k, v, slots[:, None], bias=bias)
        return y

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.out(merge_heads(self._attend(x, split_heads(self.v(x), self.num_heads), inputs)))

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        v = split_heads(self.v(x), self.num_heads)
        one_hot = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(*v.shape[:3], -1)
        return Mixing(self._attend(x, one_hot, inputs), v, lambda y: inputs.zero(self.out(merge_heads(y))))
