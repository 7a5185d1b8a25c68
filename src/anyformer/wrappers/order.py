"""A stack over the tokens of a grid in another order."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import GROWTHS, Inputs, Mixer, MixerInfo, Wrapper, take_tokens
from anyformer.layers.grid import Grid, coordinates, read_grid
from anyformer.state import State
from anyformer.wrappers import register_wrapper


def read_axes(axes: str | None, count: int) -> tuple[int, ...]:
    """Read an order of ``count`` axes, the slowest first; by default raster order.

    Raises:
        ValueError: if ``axes`` is no permutation of the axes.
    """
    if axes is None:
        return tuple(range(count))
    found = tuple(int(part) if part.isdigit() else -1 for part in str(axes).split("-"))
    if sorted(found) != list(range(count)):
        raise ValueError(
            f"axes must be the numbers 0 to {count - 1} in some order, joined by '-', got {axes!r}"
        )
    return found


@register_wrapper("order")
class Order(Wrapper):
    """A mixer on the permuted tokens of a grid (Li 2024, arXiv 2402.05892, section 3.2).

    y = P^-1 f(P x): a mixer along a sequence thus runs along any axis of the grid, in either direction.

    Args:
        inner: a mixer; it sees the tokens in the new order, renumbered, at their original positions.
        grid: sizes of all axes but the first, such as ``8`` or ``"4x8"``.
        axes: the axes from the slowest to the fastest: ``"0-1"``, the default, runs along rows, ``"1-0"`` along
            columns.
        reverse: run from the last token to the first.
    """

    class Options(Wrapper.Options):
        grid: Grid
        axes: str | None = None
        reverse: bool = False

        def info(self, inner: MixerInfo) -> MixerInfo:
            order = read_axes(self.axes, len(read_grid(self.grid)) + 1)
            if order == tuple(sorted(order)) and not self.reverse:
                return inner
            self.refuse_grids("another order", inner=inner)
            past, future = inner.reach
            spread = (0, 0) if (past, future) == (0, 0) else (None, None)
            return dataclasses.replace(
                inner,
                reach=spread,
                state="none",
                grid=True,
                cost=max(inner.cost, "n log n", key=GROWTHS.index),
            )

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        self.inner, self.sizes, self.reverse = inner, read_grid(o.grid), o.reverse
        self.axes = read_axes(o.axes, len(self.sizes) + 1)

    @property
    def is_raster(self) -> bool:
        """True if the order is raster order, which the tokens already have."""
        return not self.reverse and self.axes == tuple(sorted(self.axes))

    def permutation(self, inputs: Inputs) -> Tensor:
        """Return the token indices in the new order, masked ones last: (B, T) int64."""
        T = inputs.index.shape[1]
        place = coordinates(inputs.index, self.sizes)
        extents = (T, *self.sizes)
        key = torch.zeros_like(inputs.index)
        for axis in self.axes:
            key = key * extents[axis] + place[..., axis]
        if self.reverse:
            key = -key
        return inputs.zero(key, torch.iinfo(key.dtype).max).argsort(dim=1, stable=True)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if self.is_raster:
            return self.inner(x, inputs)
        order = self.permutation(inputs)
        moved = inputs.pick(lambda t: take_tokens(t, order)).replace(index=inputs.index)
        return take_tokens(self.inner(take_tokens(x, order), moved), order.argsort(1))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return self.inner.own_state(batch_size, device, dtype)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return self.inner.stream(x, state, inputs)
