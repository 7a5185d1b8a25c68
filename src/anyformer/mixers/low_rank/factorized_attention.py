"""Attention on a grid by one kernel per axis."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.grid import Grid, fold, read_grid, unfold
from anyformer.layers.heads import head_width, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.positions import Scheme, create_position, position_info, require

FORMS = ("parallel", "chained")


class AxisKernel(nn.Module):
    """The kernel A = q k^T of an axis, (B, H, n, n), without softmax, from the mean over the other axes (B, n, D).

    Args:
        dim: D. num_heads: H. kernel_dim: width of q and k. positions: scheme for the coordinate on the axis.
    """

    def __init__(self, dim: int, num_heads: int, kernel_dim: int, positions: Scheme) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pool = Linear(dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = Linear(dim, 2 * dim), Linear(dim, dim)
        self.q, self.k = (Linear(dim, num_heads * kernel_dim, bias=False) for _ in range(2))
        for layer in (self.q, self.k):  # small initial values, as the sums are unbounded
            nn.init.xavier_uniform_(layer.weight, gain=0.02)
        self.positions = create_position(positions, dim=dim, num_heads=num_heads, head_dim=kernel_dim)

    def forward(self, mean: Tensor, place: Tensor) -> Tensor:
        """Return the kernel from mean (B, n, D) and the coordinates (B, n)."""
        gate, up = self.up(self.norm(self.pool(mean))).chunk(2, -1)
        z = self.down(gelu(gate) * up)
        q, k = (split_heads(layer(z), self.num_heads) for layer in (self.q, self.k))
        q, k = self.positions.rotate(q, k, place)
        return q @ k.mT


@register_mixer(
    "factorized_attention",
    examples=[
        {"grid": 4, "causal": False},
        {"grid": "2x3", "form": "chained", "causal": False},
        {"grid": "2x3", "kernel_dim": 6, "positions": "none", "causal": False},
    ],
)
class FactorizedAttention(Mixer):
    """FactFormer's attention on a grid of m axes, its kernels in parallel or chained (Li 2023; Yang 2024).

    A kernel A_a of each axis (see :class:`AxisKernel`) acts on the values along it::

        chained     y = A_1 A_2 ... A_m v              a Kronecker product on the flattened field
        parallel    y = [A_1 v, A_2 v, ..., A_m v]     side by side, mixed by the map that follows

    then an instance norm (each channel over the cells), and a map, GELU, a map. The input is normed first.

    Args:
        num_heads: heads H.
        head_dim: width of a head's values, by default dim / num_heads.
        kernel_dim: width of queries and keys, by default 3 * head_dim.
        grid: the sizes of all axes but the first, see :mod:`anyformer.layers.grid`.
        form: ``parallel`` (the paper's -m) or ``chained`` (-o, FactFormer's).
        positions: a scheme that rotates by a cell's coordinate on the axis; or ``none``.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        head_dim: int | None = None
        kernel_dim: int | None = None
        grid: Grid = 8
        form: str = "parallel"
        positions: Scheme = "rope"
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "kernels come from means over the grid")
            if self.form not in FORMS:
                raise ValueError(f"form must be 'parallel' or 'chained', got {self.form!r}")
            read_grid(self.grid)
            require("factorized_attention", self.positions)
            if position_info(self.positions).scores:
                raise ValueError(
                    f"positions={self.positions!r} make scores, and factorized_attention has none"
                )
            return MixerInfo(reach=(None, None), cost="n^2", memory="n^2", grid=True, numbers_tokens=True)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K = head_width(dim, o.num_heads, o.head_dim)
        self.num_heads, self.head_dim, self.form, self.sizes = o.num_heads, K, o.form, read_grid(o.grid)
        axes = 1 + len(self.sizes)
        self.in_norm = nn.LayerNorm(dim)
        self.v = Linear(dim, o.num_heads * K, bias=False)
        self.kernels = nn.ModuleList(
            AxisKernel(dim, o.num_heads, o.kernel_dim or 3 * K, o.positions) for _ in range(axes)
        )
        width = o.num_heads * K * (axes if o.form == "parallel" else 1)
        self.mix, self.out = Linear(width, dim, bias=False), Linear(dim, dim, bias=False)

    def axis_kernels(self, x: Tensor, inputs: Inputs) -> list[Tensor]:
        """Return A_a (B, H, n_a, n_a) of each axis, from the normed input (B, T, D), zero where masked."""
        cells = fold(x, self.sizes)
        there = fold(inputs.zero(torch.ones_like(x[..., :1])), self.sizes)
        made = []
        for axis, kernel in enumerate(self.kernels, 1):
            others = [a for a in range(1, cells.dim() - 1) if a != axis]
            mean = cells.sum(others) / there.sum(others).clamp_min(1)
            place = torch.arange(mean.shape[1], device=x.device, dtype=inputs.positions.dtype)
            made.append(kernel(mean, place.expand(len(x), -1)))
        return made

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        (B, T, _), H = x.shape, self.num_heads
        if B * T == 0:
            return x
        x = inputs.zero(self.in_norm(x))
        field = fold(self.v(x), self.sizes).unflatten(-1, (H, -1)).movedim(-2, 1)  # (B, H, n_1, ..., n_m, K)
        parts, y = [], field
        for axis, kernel in enumerate(self.axis_kernels(x, inputs), 2):
            y = _along(kernel, field if self.form == "parallel" else y, axis)
            parts.append(y)
        y = torch.cat(parts, -1) if self.form == "parallel" else y
        y = unfold(y.movedim(1, -2).flatten(-2), T, self.sizes)
        return self.out(gelu(self.mix(_instance_norm(y, inputs))))


def _along(kernel: Tensor, field: Tensor, axis: int) -> Tensor:
    """Multiply the field (B, H, ..., K) by the kernel (B, H, n, n) along an axis of length n."""
    lines = field.movedim(axis, 2)
    y = kernel @ lines.flatten(3)
    return y.unflatten(3, lines.shape[3:]).movedim(2, axis)


def _instance_norm(y: Tensor, inputs: Inputs, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of y (B, T, C) to mean 0 and variance 1 over a sample's real cells."""
    wide = y.to(torch.promote_types(y.dtype, torch.float32))
    count = inputs.lengths.clamp_min(1)[:, None, None]
    wide = inputs.zero(wide - inputs.zero(wide).sum(1, keepdim=True) / count)
    variance = wide.square().sum(1, keepdim=True) / count
    return (wide * (variance + eps).rsqrt()).to(y.dtype)
