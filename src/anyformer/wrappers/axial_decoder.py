"""Autoregressive images: an outer stack over the rows above, an inner stack along the current row."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.contract import GROWTHS, Call, Inputs, Mixer, MixerInfo, Wrapper
from anyformer.stack import combine
from anyformer.state import State, where_rows
from anyformer.wrappers import register_wrapper
from anyformer.wrappers._pieces import Piece, pieces
from anyformer.wrappers.two_level import plain, write


@register_wrapper("axial_decoder")
class AxialDecoder(Wrapper):
    """The Axial Transformer's two decoders (Ho 2019, section 3.2), which together see all earlier pixels.

    The outer stack runs over whole rows and may attend to the rows above, without causality within a row; its result is
    shifted down by one row. The inner stack runs along each row, shifted right by one pixel::

        pixels       0 1 2 | 3 4 5 | 6 7 ...        columns = 3
        outer        row 0   row 1                  rows complete before the next one
        inner sees   s 0 1 | s 3 4 | s 6 ...        restarted in each row, the outer's output above added

    Output t predicts pixel t + 1. In streaming the outer stack runs once per row, the inner one once per pixel.

    Args:
        outer: a mixer on the image in raster order in which no row depends on a later one: mixers ``axial`` along rows
            (``axis=1``, of either ``causal``), and causal ones along columns (``axis=0``).
        inner: a causal mixer along a row.
        columns: pixels of a row.
    """

    class Options(Wrapper.Options):
        columns: int = 8

        def info(self, outer: MixerInfo, inner: MixerInfo) -> MixerInfo:
            if self.columns < 2:
                raise ValueError(f"columns must be at least 2, got {self.columns}")
            if not inner.causal:
                raise ValueError(f"inner must be causal, got reach {inner.reach}")
            if outer.reach[1] is None:
                raise ValueError(f"outer must not depend on later rows, got reach {outer.reach}")
            if inner.max_length is not None and inner.max_length < self.columns:
                raise ValueError(
                    f"inner must take columns={self.columns} pixels, got max_length {inner.max_length}"
                )
            self.refuse_grids("the learned start in front", inner=inner)
            past, limit = outer.reach[0], outer.max_length
            return dataclasses.replace(
                combine([outer, inner]),
                grid=True,
                side={},
                numbers_tokens=True,
                reach=(None if past is None else past + 2 * self.columns, 0),
                cost=max(outer.cost, "n", key=GROWTHS.index),
                memory=max(outer.memory, "n", key=GROWTHS.index),
                state=max(outer.state, "constant", key=GROWTHS.index),
                max_length=None if limit is None else limit // self.columns * self.columns + self.columns - 1,
            )

    options: Options

    def __init__(self, dim: int, outer: Mixer, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, outer, inner, **options)
        o = self.options
        self.outer, self.inner, self.columns = outer, inner, o.columns
        self.start = nn.Parameter(torch.randn(dim) * 0.02)  # instead of the pixel before a row
        self.begin = nn.Parameter(
            torch.randn(dim) * 0.02
        )  # instead of the outer output of the row above the first one

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        B, T, D = x.shape
        P, n = self.columns, T // self.columns + 1  # the start is step 0, pixel t is step t + 1
        known = self.begin.expand(B, P, D)
        if n > 1:
            whole, mask = x[:, : (n - 1) * P], None
            if inputs.mask is not None:
                rows = inputs.lengths[:, None] // P
                mask = torch.arange((n - 1) * P, device=x.device) // P < rows
                whole = whole.masked_fill(~mask[..., None], 0)
            known = torch.cat(
                [known, self.outer(whole, plain(inputs, B, (n - 1) * P, mask, self._call(inputs)))], 1
            )
        below = pad(x, (0, 0, 1, n * P - T - 1)).reshape(B * n, P, D)
        below = torch.cat([self.start.expand(B * n, 1, D), below[:, 1:]], 1)
        mask = None
        if inputs.mask is not None:
            mask = (torch.arange(n * P, device=x.device) <= inputs.lengths[:, None]).reshape(B * n, P)
        y = self.inner(below + known.reshape(B * n, P, D), plain(inputs, B * n, P, mask, self._call(inputs)))
        return y.reshape(B, n * P, D)[:, 1 : T + 1]

    def _call(self, inputs: Inputs) -> Call:
        return inputs.inside("axial_decoder", (*self.outer.info.side, *self.inner.info.side))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        known = self.begin.to(dtype).expand(batch_size, self.columns, -1)
        index = torch.zeros(batch_size, 1, dtype=torch.int64, device=device)
        first = plain(Inputs(None, index, index.to(dtype), None, Call()), batch_size, 1, None, Call())
        below = self.start.to(dtype) + known[:, :1]
        _, inner = self.inner.stream(below, self.inner.own_state(batch_size, device, dtype), first)
        return {
            "outer": self.outer.own_state(batch_size, device, dtype),
            "inner": inner,
            "known": known,
            "tokens": torch.zeros_like(known),
            "row": index[:, 0],
        }

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, call = torch.zeros_like(x), self._call(inputs)
        for piece in pieces(inputs.replace(index=inputs.index + 1, call=call), self.columns):
            part, state = self._piece(piece, piece.of(x), state)
            y = piece.put(y, part)
        return y, state

    def _piece(self, piece: Piece, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Stream pixels of one row; if its first step is among them, the row above is complete."""
        B, P = len(x), self.columns
        step = piece.inputs.index % P  # (B, W)
        first = piece.starts[:, None]
        tokens = write(state["tokens"], torch.full_like(step[:, :1], P - 1), x[:, :1], first)
        known, outer = state["known"], state["outer"]
        if bool(piece.starts.any()):
            index = state["row"][:, None] * P + torch.arange(P, device=x.device)
            above = Inputs(first.expand(B, P), index, index.to(x.dtype), None, piece.inputs.call)
            made, outer = self.outer.stream(above.zero(tokens), outer, above)
            known = torch.where(first[..., None], made, known)
        fresh = self.inner.own_state(B, x.device, x.dtype)
        inner = where_rows(piece.starts, fresh, state["inner"])
        below = torch.where((step == 0)[..., None], self.start, x)
        below = below + known.gather(1, step[..., None].expand(-1, -1, self.dim))
        within = piece.inputs.replace(index=step, positions=step.to(piece.inputs.positions.dtype))
        y, inner = self.inner.stream(piece.inputs.zero(below), inner, within)
        assert piece.inputs.mask is not None
        tokens = write(tokens, (step - 1) % P, x, piece.inputs.mask & (step > 0))
        row = state["row"] + piece.starts
        return y, {"outer": outer, "inner": inner, "known": known, "tokens": tokens, "row": row}
