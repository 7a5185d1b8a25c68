"""A model over patches, and a model over the tokens of each patch."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.contract import GROWTHS, Call, Inputs, Mixer, MixerInfo, Wrapper
from anyformer.layers.linear import Linear
from anyformer.stack import combine
from anyformer.state import State, where_rows
from anyformer.wrappers import register_wrapper
from anyformer.wrappers._pieces import Piece, pieces


@register_wrapper("two_level")
class TwoLevel(Wrapper):
    """MEGABYTE (Yu 2023, section 2): an outer stack over whole patches, an inner one within each patch.

    The paper's local model reads byte t - 1 to predict byte t; here output t predicts token t + 1, so patches are
    shifted by one token: the first one begins with a learned start token before the sequence::

        tokens      0 1 2 | 3 4 5 6 | 7 8 ...      patch = 4
        outer sees    s     patch 0   patch 1      patches complete before the next one
        inner sees  s 0 1 2 | 3 4 5 6 | ...        restarted in each patch, the outer's output added

    Args:
        outer: causal mixer over patches; its width may differ from ``dim``.
        inner: causal mixer of width ``dim`` over the tokens of a patch.
        patch: tokens of a patch.
    """

    class Options(Wrapper.Options):
        patch: int = 8

        def info(self, outer: MixerInfo, inner: MixerInfo) -> MixerInfo:
            if self.patch < 2:
                raise ValueError(f"patch must be at least 2, got {self.patch}")
            for name, info in (("outer", outer), ("inner", inner)):
                if not info.causal:
                    raise ValueError(f"{name} must be causal, got reach {info.reach}")
            if inner.max_length is not None and inner.max_length < self.patch:
                raise ValueError(
                    f"inner must take patch={self.patch} tokens, got max_length {inner.max_length}"
                )
            self.refuse_grids("the learned start in front", outer=outer, inner=inner)
            both = combine([outer, inner])
            past = outer.reach[0]
            return dataclasses.replace(
                both,
                side={},
                numbers_tokens=True,
                reach=(None if past is None else (past + 2) * self.patch, 0),
                cost=max(outer.cost, "n", key=GROWTHS.index),
                memory=max(outer.memory, "n", key=GROWTHS.index),
                state=max(outer.state, "constant", key=GROWTHS.index),
                max_length=None if outer.max_length is None else outer.max_length * self.patch - 1,
            )

    options: Options

    def __init__(self, dim: int, outer: Mixer, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, outer, inner, **options)
        o = self.options
        self.outer, self.inner, self.patch = outer, inner, o.patch
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.begin = nn.Parameter(torch.randn(outer.dim) * 0.02)
        self.down = Linear(o.patch * dim, outer.dim)
        self.up = Linear(outer.dim, o.patch * dim)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        B, T, D = x.shape
        P, n = self.patch, T // self.patch + 1  # the start is step 0, token t is step t + 1
        patches = pad(x, (0, 0, 0, n * P - T))
        above = self.down(patches.reshape(B, n, P * D)[:, :-1])
        above = torch.cat([self.begin.expand(B, 1, -1), above], 1)
        outer_mask = (
            None if inputs.mask is None else torch.arange(n, device=x.device) * P <= inputs.lengths[:, None]
        )
        known = self.up(self.outer(above, plain(inputs, B, n, outer_mask, self._call(inputs)))).reshape(
            B * n, P, D
        )
        below = pad(x, (0, 0, 1, n * P - T - 1)).reshape(B * n, P, D)
        below = torch.cat([self.start.expand(B * n, 1, D), below[:, 1:]], 1)
        inner_mask = None
        if inputs.mask is not None:
            inner_mask = (torch.arange(n * P, device=x.device) <= inputs.lengths[:, None]).reshape(B * n, P)
        y = self.inner(below + known, plain(inputs, B * n, P, inner_mask, self._call(inputs)))
        return y.reshape(B, n * P, D)[:, 1 : T + 1]

    def _call(self, inputs: Inputs) -> Call:
        return inputs.inside("two_level", (*self.outer.info.side, *self.inner.info.side))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        call = Call()
        one = Inputs(
            None, torch.zeros(batch_size, 1, dtype=torch.int64, device=device), torch.empty(0), None, call
        )
        first = plain(one, batch_size, 1, None, call)
        begin = self.begin.to(dtype).expand(batch_size, 1, -1)
        known, outer = self.outer.stream(begin, self.outer.own_state(batch_size, device, dtype), first)
        known = self.up(known).reshape(batch_size, self.patch, self.dim)
        below = self.start.to(dtype) + known[:, :1]
        _, inner = self.inner.stream(below, self.inner.own_state(batch_size, device, dtype), first)
        patches = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {
            "outer": outer,
            "inner": inner,
            "known": known,
            "tokens": torch.zeros_like(known),
            "patch": patches,
        }

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, call = torch.zeros_like(x), self._call(inputs)
        for piece in pieces(inputs.replace(index=inputs.index + 1, call=call), self.patch):
            part, state = self._piece(piece, piece.of(x), state)
            y = piece.put(y, part)
        return y, state

    def _piece(self, piece: Piece, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Stream tokens of one patch; if its first step is among them, the patch before it is complete."""
        B = x.shape[0]
        step = piece.inputs.index % self.patch  # (B, W)
        first = piece.starts[:, None]
        tokens = write(state["tokens"], torch.full_like(step[:, :1], self.patch - 1), x[:, :1], first)
        number = state["patch"] + piece.starts
        above = Inputs(first, number[:, None], number[:, None].to(x.dtype), None, piece.inputs.call)
        known, outer = self.outer.stream(self.down(tokens.flatten(1))[:, None], state["outer"], above)
        known = torch.where(first[..., None], self.up(known).reshape(B, self.patch, self.dim), state["known"])
        fresh = self.inner.own_state(B, x.device, x.dtype)
        inner = where_rows(piece.starts, fresh, state["inner"])
        below = torch.where((step == 0)[..., None], self.start, x)
        below = below + known.gather(1, step[..., None].expand(-1, -1, self.dim))
        within = piece.inputs.replace(index=step, positions=step.to(piece.inputs.positions.dtype))
        y, inner = self.inner.stream(piece.inputs.zero(below), inner, within)
        assert piece.inputs.mask is not None
        tokens = write(tokens, (step - 1) % self.patch, x, piece.inputs.mask & (step > 0))
        return y, {"outer": outer, "inner": inner, "known": known, "tokens": tokens, "patch": number}


def plain(inputs: Inputs, batch: int, length: int, mask: Tensor | None, call: Call) -> Inputs:
    """Return the inputs of a level, its tokens numbered from zero."""
    index = torch.arange(length, device=inputs.index.device).expand(batch, length)
    dtype = inputs.positions.dtype
    return Inputs(mask, index, index.to(dtype), None, call)


def write(held: Tensor, at: Tensor, x: Tensor, chosen: Tensor) -> Tensor:
    """Write x (B, W, D) into held (B, P, D) at slots ``at`` (B, W) where chosen (B, W)."""
    P = held.shape[1]
    at = torch.where(chosen, at, P)[..., None].expand(-1, -1, held.shape[2])
    return pad(held, (0, 0, 0, 1)).scatter(1, at, x.to(held.dtype))[:, :P]
