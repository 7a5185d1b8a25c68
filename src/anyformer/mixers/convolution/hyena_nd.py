"""Hyena over the axes of a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.contract import Inputs, Mixer, MixerInfo, take_tokens
from anyformer.layers.grid import Grid, fold, read_grid, unfold
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.mixers.convolution.hyena import ImplicitFilter
from anyformer.ops.long_conv import long_conv_nd
from anyformer.registry import nearest
from anyformer.state import State

KERNELS = ("joint", "separable")


class JointFilter(nn.Module):
    """Kernels over all axes from one sine network on the concatenated lag features of all axes.

    Args:
        dim, order: ``order`` kernels for each of ``dim`` channels.
        extents: the longest lag of each axis, plus one.
        hidden_dim: width of the network.
    """

    def __init__(self, dim: int, order: int, extents: tuple[int, ...], *, hidden_dim: int) -> None:
        super().__init__()
        self.axes = nn.ModuleList(
            ImplicitFilter(dim, order, extent, hidden_dim=hidden_dim, network=False) for extent in extents
        )
        self.dim, self.order = dim, order
        self.into = Linear(self.features([1] * len(extents)).shape[-1], hidden_dim)
        self.inner = Linear(hidden_dim, hidden_dim)
        self.out = Linear(hidden_dim, order * dim, bias=False)

    def features(self, lags: list[int]) -> Tensor:
        """Return the features of all axes, (*lags, features)."""
        parts = [self._along(a, axis.features(count), lags) for a, axis, count in self._each(lags)]
        return torch.cat([part.expand(*lags, -1) for part in parts], -1)

    def forward(self, lags: list[int]) -> Tensor:
        """Return the kernels, (order, dim, *lags)."""
        features = self.features(lags).to(self.into.weight.dtype)
        h = self.out(self.inner(self.into(features).sin()).sin())
        for a, axis, count in self._each(lags):
            h = h * self._along(a, axis.window(count), lags)
        return h.movedim(-1, 0).unflatten(0, (self.order, self.dim))

    def _each(self, lags: list[int]) -> Iterator[tuple[int, ImplicitFilter, int]]:
        for a, (axis, count) in enumerate(zip(self.axes, lags, strict=True)):
            assert isinstance(axis, ImplicitFilter)
            yield a, axis, count

    def _along(self, axis: int, x: Tensor, lags: list[int]) -> Tensor:
        """Reshape x (lags of the axis, W) to size one on the other axes."""
        shape = [1] * len(lags)
        shape[axis] = len(x)
        return x.view(*shape, -1)


class SeparableFilter(nn.Module):
    """Kernels over all axes as products of one kernel per axis (rank one). Args as for :class:`JointFilter`."""

    def __init__(self, dim: int, order: int, extents: tuple[int, ...], *, hidden_dim: int) -> None:
        super().__init__()
        self.axes = nn.ModuleList(
            ImplicitFilter(dim, order, extent, hidden_dim=hidden_dim) for extent in extents
        )

    def forward(self, lags: list[int]) -> Tensor:
        """Return the kernels, (order, dim, *lags)."""
        kernel: Tensor | None = None
        for axis, count in zip(self.axes, lags, strict=True):
            own = axis(count)
            kernel = (
                own
                if kernel is None
                else kernel[..., None] * own.unflatten(-1, (*[1] * (kernel.dim() - 2), -1))
            )
        assert kernel is not None
        return kernel


@register_mixer(
    "hyena_nd",
    examples=[
        {"grid": 4, "max_length": 400, "hidden_dim": 8, "causal": False},
        {"grid": "2x3", "max_length": 400, "hidden_dim": 8, "kernel": "separable", "causal": False},
        {"grid": 4, "max_length": 400, "hidden_dim": 8},
    ],
)
class HyenaND(Mixer):
    """Gates and implicit convolutions over the axes of a grid (Zimerman 2023, arXiv 2309.13600, section 3).

    z_1 = v, z_{n+1} = x_n * (h_n conv z_n + b_n z_n), y = out(z_{N+1}), all over a grid.

    A causal kernel reaches back along every axis. With ``causal=False`` there is one kernel for each of the 2^axes
    orthants, and their convolutions are summed, so that a token sees all others. Projections pass a convolution of
    width 3 along every axis. Streaming keeps all tokens and convolves them again.

    Args:
        grid: sizes of all axes but the first, such as ``8`` or ``"4x8"``; ``None`` is a sequence.
        order: the number of gates.
        max_length: the longest sequence, in tokens.
        kernel: ``joint`` or ``separable``.
        hidden_dim: width of the kernels' network.
    """

    class Options(Mixer.Options):
        grid: Grid | None = None
        order: int = 2
        max_length: int = 1024
        kernel: str = "joint"
        hidden_dim: int = 32

        def info(self) -> MixerInfo:
            if self.max_length < 1:
                raise ValueError(f"max_length must be at least 1, got {self.max_length}")
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost="n log n",
                state="n" if self.causal else "none",
                grid=True,
                max_length=self.max_length,
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.order < 1 or o.hidden_dim < 1:
            raise ValueError(f"order and hidden_dim must be at least 1, got {o.order} and {o.hidden_dim}")
        if o.kernel not in KERNELS:
            raise ValueError(f"unknown kernel {o.kernel!r}{nearest(o.kernel, list(KERNELS))}")
        self.sizes = () if o.grid is None else read_grid(o.grid)
        self.order, self.causal = o.order, o.causal
        axes = 1 + len(self.sizes)
        self.corners = [(1,) * axes] if o.causal else list(product((1, -1), repeat=axes))
        extents = (-(-o.max_length // math.prod(self.sizes)), *self.sizes)
        filter_ = JointFilter if o.kernel == "joint" else SeparableFilter
        self.into = Linear(dim, (o.order + 1) * dim)
        bound = 3 ** (-axes / 2)
        self.taps = nn.Parameter(torch.empty((o.order + 1) * dim, *[3] * axes).uniform_(-bound, bound))
        self.taps_bias = nn.Parameter(torch.empty((o.order + 1) * dim).uniform_(-bound, bound))
        self.filter = filter_(dim, o.order * len(self.corners), extents, hidden_dim=o.hidden_dim)
        self.skip = nn.Parameter(torch.randn(o.order, dim))
        self.out = Linear(dim, dim)

    def hints(self) -> dict[str, dict[str, Any]]:
        names = [n for n, _ in self.named_parameters() if n.endswith("log_width")]
        return {name: {"decay": False} for name in ("skip", "taps_bias", *names)}

    def kernels(self, sizes: tuple[int, ...]) -> Tensor:
        """Return the kernels for a grid, (order, D, *lags); bidirectional: the sum over orthants, lag zero central."""
        found = self.filter(list(sizes)).unflatten(0, (self.order, len(self.corners)))
        if self.causal:
            return found[:, 0]
        total = found.new_zeros(())
        for c, signs in enumerate(self.corners):
            one = found[:, c]
            around: list[int] = []
            for axis, (sign, size) in enumerate(zip(signs, sizes, strict=True)):
                one = one if sign > 0 else one.flip(axis + 2)
                around = [*((size - 1, 0) if sign > 0 else (0, size - 1)), *around]
            total = total + pad(one, around)
        return total

    def _conv(self, x: Tensor, kernel: Tensor, skip: Tensor | None = None) -> Tensor:
        """Convolve x (B, T, C) over the grid."""
        grid = fold(x, self.sizes).movedim(-1, 1) if self.sizes else x.mT
        y = long_conv_nd(grid, kernel, causal=self.causal, skip=skip).movedim(1, -1)
        return unfold(y, x.shape[1], self.sizes) if self.sizes else y

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        T = x.shape[1]
        if T == 0:
            return x
        u = inputs.zero(self._conv(inputs.zero(self.into(x)), self.taps) + self.taps_bias)
        *gates, z = u.chunk(self.order + 1, -1)
        kernels = self.kernels((-(-T // math.prod(self.sizes)), *self.sizes))
        for n, gate in enumerate(gates):
            z = gate * self._conv(z, kernels[n], self.skip[n])
        return self.out(z.to(x.dtype))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"x": torch.zeros(batch_size, 0, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        before = state["x"].shape[1]
        last = inputs.index[:, :1] + inputs.lengths[:, None]  # tokens of each sample so far, these included
        place = (
            inputs.index
            if inputs.mask is None
            else torch.where(inputs.mask, inputs.index, before + x.shape[1])
        )
        whole = pad(state["x"], (0, 0, 0, x.shape[1] + 1))
        whole = whole.scatter(1, place[..., None].expand_as(x), x.to(whole.dtype))[:, :-1]
        if not torch.compiler.is_compiling():
            whole = whole[:, : max(1, int(last.max()))]
        number = torch.arange(whole.shape[1], device=x.device).expand(len(x), -1)
        every = inputs.replace(mask=number < last, index=number, positions=number)
        y = self._forward(whole, every)
        return take_tokens(y, place.clamp_max(whole.shape[1] - 1)), {"x": whole}
