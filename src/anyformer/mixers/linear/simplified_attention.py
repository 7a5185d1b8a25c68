"""Simplified linear attention: relu features, and a small convolution of the values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.grid import Grid, fold, read_grid, unfold
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.long_conv import long_conv_nd


@register_mixer(
    "simplified_attention",
    examples=[{"causal": False}, {"grid": 4, "width": 3, "bias": True, "causal": False}],
)
class SimplifiedAttention(Mixer):
    """Linear attention with relu features, plus a local term (Guo 2024, arXiv 2405.11582, eq. 10-11).

    y = relu(q) S / relu(q) z + conv(v), S = sum relu(k_s) v_s^T, z = sum relu(k_s). The convolution, shared by the
    heads, makes up for the low rank of the product of features.

    Args:
        num_heads: heads H.
        grid: sizes of all axes but the first, such as 8 for images of width 8; ``None`` is a sequence.
        width: taps of the convolution along each axis, odd.
        bias: biases on queries, keys and values.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        grid: Grid | None = None
        width: int = 5
        bias: bool = False

        def info(self) -> MixerInfo:
            if self.causal:
                raise ValueError(
                    "causal=True is not possible for simplified_attention: its convolution is centred; use "
                    "linear_attention with feature_map='relu'"
                )
            return MixerInfo(reach=(None, None), grid=self.grid is not None)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.width < 1 or o.width % 2 == 0:
            raise ValueError(f"width must be odd, got {o.width}")
        self.num_heads, K = o.num_heads, head_width(dim, o.num_heads, None)
        self.sizes = () if o.grid is None else read_grid(o.grid)
        self.q, self.k, self.v = (Linear(dim, dim, bias=o.bias) for _ in range(3))
        axes = 1 + len(self.sizes)
        bound = o.width ** (-axes / 2)
        self.taps = nn.Parameter(torch.empty(K, *[o.width] * axes).uniform_(-bound, bound))
        self.out = Linear(dim, dim)

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(inputs.zero(layer(x)), self.num_heads) for layer in (self.q, self.k, self.v))
        return q.relu(), k.relu(), v

    def _local(self, v: Tensor) -> Tensor:
        """Convolve values (B, H, T, V)."""
        heads = v.flatten(0, 1)
        grid = fold(heads, self.sizes).movedim(-1, 1) if self.sizes else heads.mT
        y = long_conv_nd(grid, self.taps, causal=False).movedim(1, -1)
        return (unfold(y, v.shape[2], self.sizes) if self.sizes else y).view_as(v)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v = self._project(x, inputs)
        y, _ = linear_attention(q, k, v, normalize=True, causal=False)
        return self.out(merge_heads(y + self._local(v) if x.shape[1] else y))

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        """Return the attention's matrix; ``finish`` adds the local term."""
        q, k, v = self._project(x, inputs)
        weights = q @ k.mT
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total == 0, 1.0, total)
        return Mixing(weights, v, lambda y: inputs.zero(self.out(merge_heads(y + self._local(v)))))
