"""Any mixer along one axis of a grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call, Inputs, Mixer, MixerInfo, take_tokens
from anyformer.inputs import moved
from anyformer.layers.grid import Grid, fold, read_grid, unfold
from anyformer.mixers import create_mixer, mixer_info, mixers, register_mixer
from anyformer.parts import option_names
from anyformer.positions import Scheme
from anyformer.state import State, map_state, where_rows

Part = str | dict[str, Any]


@register_mixer(
    "axial",
    examples=[
        {"grid": 4, "axis": 0},
        {"grid": 4, "axis": 1},
        {"grid": 5, "axis": 1, "causal": False},
        {"grid": "3x4", "axis": 1, "inner": {"name": "attention", "num_heads": 2, "window": 2}},
        {"grid": 3, "axis": 0, "inner": "retention"},
        {"grid": 3, "axis": 1, "inner": {"name": "mamba", "state_dim": 3}},
    ],
)
class Axial(Mixer):
    """A mixer run along one axis of a grid in raster order, each line separately (Ho 2019, section 3.1).

    On an image of n columns, ``axis=1`` mixes each row and ``axis=0`` each column. A causal inner mixer sees the
    earlier cells of its line, which are earlier in raster order too.

    Args:
        inner: a mixer by name, or a dict with ``name`` and its options.
        grid: the sizes of all axes but the first, see :mod:`anyformer.layers.grid`.
        axis: the number of the axis.
        positions: of the inner mixer, if it has the option; a token's position is its coordinate on the axis.
    """

    class Options(Mixer.Options):
        inner: Part = "attention"
        grid: Grid = 8
        axis: int = 1
        positions: Scheme = "rope"

        def along(self) -> tuple[str, dict[str, Any]]:
            """Return the inner mixer's name and options."""
            name, options = _named(self.inner)
            given = {"positions": self.positions, "causal": self.causal, **options}
            taken = option_names(mixers, name)
            return name, {k: v for k, v in given.items() if k in options or k in taken}

        def info(self) -> MixerInfo:
            sizes, axis = read_grid(self.grid), self.axis
            if not 0 <= axis <= len(sizes):
                raise ValueError(f"axis must be from 0 to {len(sizes)} on this grid, got {axis}")
            name, options = self.along()
            info = mixer_info(name, **options)
            if info.context:
                raise ValueError("inner must not need a context")
            apart, longest = math.prod(sizes[axis:]), sizes[axis - 1] - 1 if axis else None
            past, future = (
                None if n is None else n * apart
                for n in (
                    n if longest is None else longest if n is None else min(n, longest) for n in info.reach
                )
            )
            limit = info.max_length
            if limit is not None and longest is not None and longest >= limit:
                raise ValueError(f"grid must have at most {limit} cells on axis {axis} (inner's max_length)")
            return dataclasses.replace(
                info,
                numbers_tokens=True,
                reach=(past, future),
                cost="n" if axis else info.cost,
                memory="n" if axis else info.memory,
                state="constant" if axis and info.state == "n" else info.state,
                grid=True,
                max_length=None if axis or limit is None else limit * apart,
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        name, inner = self.options.along()
        self.inner = create_mixer(name, dim, **inner)
        self.sizes, self.axis = read_grid(self.options.grid), self.options.axis
        self.lines = math.prod(self.sizes[self.axis :])  # interleaved lines of a slab
        self.slab = (
            math.prod(self.sizes[self.axis - 1 :]) if self.axis else None
        )  # tokens of a slab, after which the lines restart

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        T = x.shape[1]
        if T == 0:
            return x
        real = inputs.mask
        if real is None and T % math.prod(self.sizes):  # the last slab is filled up
            real = x.new_ones(x.shape[:2], dtype=torch.bool)
        axis, axes = self.axis + 1, len(self.sizes) + 1

        def lines(t: Tensor) -> Tensor:  # (B, T, ...) to (B, *other axes, the axis, ...)
            return fold(t, self.sizes).movedim(axis, axes)

        along = lines(x)
        there = None if real is None else lines(real).flatten(0, axes - 1)
        call = self._call(inputs, lambda t: lines(t).flatten(0, axes - 1), math.prod(along.shape[1:-2]))
        y = self.inner(along.flatten(0, axes - 1), mask=there, call=call)
        return unfold(y.reshape(along.shape).movedim(axes, axis), T, self.sizes)

    def _call(self, inputs: Inputs, lines: Callable[[Tensor], Tensor], count: int) -> Call:
        """Return the call of the lines: side inputs of tokens are rearranged like them, those of samples repeated."""
        kinds = self.inner.info.side
        given = {name: value for name, value in inputs.call.side.items() if name in kinds}
        side = moved(given, kinds, lambda t, _: lines(t), lambda t: t.repeat_interleave(count, 0))
        return Call(side=side, losses=inputs.call.losses, notes=inputs.call.notes)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        """Return the states of all lines, (B, lines, ...)."""
        if not self.inner.info.causal:
            return {}
        state = self.inner.init_state(batch_size * self.lines, device=device, dtype=dtype)
        return map_state(lambda t: t.unflatten(0, (batch_size, self.lines)), state)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[0] * x.shape[1] == 0:
            return x, state
        if self.slab is None:
            return self._slab(x, state, inputs)
        y, lengths, first = torch.zeros_like(x), inputs.lengths, inputs.index[:, 0]
        done = torch.zeros_like(lengths)
        fresh = self._init_state(len(x), x.device, x.dtype)
        for _ in range(x.shape[1] // self.slab + 2):  # the most slabs that T tokens can span
            at = (first + done) % self.slab
            size = torch.minimum(self.slab - at, lengths - done)
            width = int(size.max())
            if width == 0:
                break
            offset = torch.arange(width, device=x.device)
            mask = offset < size[:, None]
            take = (done[:, None] + offset).clamp_max(x.shape[1] - 1)
            here = inputs.pick(lambda t, take=take: take_tokens(t, take))  # type: ignore[misc]
            here = here.replace(mask=mask, index=at[:, None] + offset)
            state = where_rows((at == 0) & (size > 0), fresh, state)
            part, state = self._slab(here.zero(take_tokens(x, take)), state, here)
            y = y.scatter_add(1, take[..., None].expand(-1, -1, self.dim), here.zero(part).to(y.dtype))
            done = done + size
        return y, state

    def _slab(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        """Stream tokens of one slab: each line gets its own."""
        (B, T, _), lines = x.shape, self.lines
        row = inputs.index.div(lines, rounding_mode="floor")
        row = row - row[:, :1]
        rows = (T + lines - 2) // lines + 1  # the most rows that T tokens can span
        real = x.new_ones(B, T, dtype=torch.bool) if inputs.mask is None else inputs.mask
        place = torch.where(
            real, row * lines + inputs.index % lines, rows * lines
        )  # masked tokens go to a spare cell

        def lay(t: Tensor) -> Tensor:  # (B, T, ...) to (B * lines, rows, ...)
            at = place.reshape(B, T, *(1,) * (t.dim() - 2)).expand_as(t)
            cells = t.new_zeros(B, rows * lines + 1, *t.shape[2:]).scatter(1, at, t)
            return cells[:, :-1].unflatten(1, (rows, lines)).transpose(1, 2).flatten(0, 1)

        cells, there, call = lay(x), lay(real), self._call(inputs, lay, lines)
        if self.inner.info.causal:
            own = map_state(lambda t: t.flatten(0, 1), state)
            y, own = self.inner.stream(cells, own, mask=there, call=call)
            state = map_state(lambda t: t.unflatten(0, (B, lines)), own)
        else:  # of whole slabs only
            y = self.inner(cells, mask=there, call=call)
        y = y.unflatten(0, (B, lines)).transpose(1, 2).flatten(1, 2)
        return take_tokens(y, place.clamp_max(rows * lines - 1)), state


def _named(inner: Part) -> tuple[str, dict[str, Any]]:
    if isinstance(inner, str):
        return inner, {}
    options = {k: v for k, v in inner.items() if k not in ("name", "options", "tag", "inner")}
    return inner["name"], {**options, **inner.get("options", {})}
