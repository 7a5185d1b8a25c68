"""ReMamba: a prompt is read, compressed to its most important tokens, and read again."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from anyformer.contract import Inputs, Mixer, MixerInfo, Wrapper, take_tokens
from anyformer.layers.linear import Linear
from anyformer.state import State, where_rows
from anyformer.wrappers import register_wrapper

SELECTIONS = ("importance", "uniform")


@register_wrapper("remamba")
class ReMamba(Wrapper):
    """Two passes over a prompt, the second over fewer tokens (Yuan 2024, arXiv 2408.15496, section 3).

    The first ``prompt`` tokens are read by the inner stack: h = f(x). Of those from ``start`` to ``stop``, the K with
    the largest importance s_i = cos(W_q h_last, W_k h_i) are kept, in order, as x_i + W_v h_i; f reads this shorter
    prompt again, and then the tokens after it. Kept tokens have the side input ``step_scale`` = exp(a s_i), which
    scales Mamba's steps, so that important tokens are written more strongly and W_q and W_k get a gradient.

    Prompt tokens get the outputs of the first pass, so that no token sees a later one.

    Args:
        inner: a causal mixer, usually of ``mamba``.
        prompt: tokens of the prompt.
        start, stop: the part of the prompt that is compressed, as shares of its length.
        ratio: share of that part that is kept, K, rounded up.
        select: ``importance``, or ``uniform``: K evenly spaced tokens, as a baseline.
    """

    class Options(Wrapper.Options):
        prompt: int = 64
        start: float = 0.0
        stop: float = 1.0
        ratio: float = 0.25
        select: str = "importance"

        def info(self, inner: MixerInfo) -> MixerInfo:
            if not inner.causal:
                raise ValueError(f"inner must be causal for remamba, got reach {inner.reach}")
            self.refuse_grids("dropped tokens", inner=inner)
            if self.prompt < 1:
                raise ValueError(f"prompt must be at least 1, got {self.prompt}")
            return dataclasses.replace(inner, reach=(None, 0), side={})

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        if not 0 <= o.start < o.stop <= 1:
            raise ValueError(
                f"start and stop must be shares with 0 <= start < stop <= 1, got {o.start} and {o.stop}"
            )
        if not 0 < o.ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, got {o.ratio}")
        if o.select not in SELECTIONS:
            raise ValueError(f"select must be one of {', '.join(SELECTIONS)}, got {o.select!r}")
        self.inner, self.prompt, self.select = inner, o.prompt, o.select
        self.first, self.last = (
            int(o.start * o.prompt),
            max(int(o.stop * o.prompt), int(o.start * o.prompt) + 1),
        )
        self.kept = math.ceil(o.ratio * (self.last - self.first))
        self.saved = self.last - self.first - self.kept
        self.query, self.key = Linear(dim, dim, bias=False), Linear(dim, dim, bias=False)
        self.value = Linear(dim, dim, bias=False)
        nn.init.zeros_(self.value.weight)
        self.strength = nn.Parameter(torch.ones(()))

    def choose(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the indices (B, K) and scores of the kept tokens, from the first pass's outputs h (B, P, D)."""
        part = h[:, self.first : self.last]
        score = cosine_similarity(self.query(h[:, -1:]), self.key(part), dim=-1)
        if self.select == "uniform":
            place = torch.arange(self.kept, device=h.device) * part.shape[1] // self.kept
            place = place.expand(len(h), -1)
        else:
            place = score.detach().topk(self.kept, 1).indices.sort(1).values
        return place + self.first, score.gather(1, place)

    def _compressed(self, x: Tensor, h: Tensor, inputs: Inputs) -> tuple[Tensor, Inputs]:
        """Return the second pass's tokens and inputs for a prompt x (B, P, D) and any tokens after it."""
        B, T, _ = x.shape
        place, score = self.choose(h)
        every = torch.arange(T, device=x.device).expand(B, -1)
        take = torch.cat((every[:, : self.first], place, every[:, self.last :]), 1)
        middle = slice(self.first, self.first + self.kept)
        read = take_tokens(x, take)
        kept = read[:, middle] + self.value(take_tokens(h, place))
        read = torch.cat((read[:, : middle.start], kept, read[:, middle.stop :]), 1)
        scale = torch.ones(B, take.shape[1], dtype=score.dtype, device=x.device)
        scale = torch.cat(
            (scale[:, : middle.start], (self.strength * score).exp(), scale[:, middle.stop :]), 1
        )
        number = torch.arange(take.shape[1], device=x.device).expand(B, -1)
        inputs = inputs.pick(lambda t: take_tokens(t, take)).replace(index=number)
        call = dataclasses.replace(inputs.call, side={**inputs.call.side, "step_scale": scale})
        return read, inputs.replace(call=call)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        P, inputs = self.prompt, self._alone(inputs)
        h = self.inner(x[:, :P], inputs.between(slice(P)))
        if x.shape[1] <= P:
            return h
        y = self.inner(*self._compressed(x, h, inputs))
        return torch.cat((h, y[:, P - self.saved :]), 1)

    def _alone(self, inputs: Inputs) -> Inputs:
        """Return the inputs without side inputs, which are no longer there when the prompt is read again."""
        return inputs.replace(call=inputs.inside("remamba", self.inner.info.side))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        prompt = torch.zeros(2, batch_size, self.prompt, self.dim, device=device, dtype=dtype)
        return {"inner": self.inner.own_state(batch_size, device, dtype), "x": prompt[0], "h": prompt[1]}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        B, T, D = x.shape
        if T == 0:
            return x, state
        P, before, inputs = self.prompt, inputs.index[:, 0], self._alone(inputs)
        first = (
            (P - before).clamp_min(0).minimum(inputs.lengths)
        )  # number of these tokens that are in the prompt
        number = torch.arange(T, device=x.device)
        mask = number < first[:, None]
        h, own = self.inner.stream(
            inputs.replace(mask=mask).zero(x), state["inner"], inputs.replace(mask=mask)
        )
        place = torch.where(mask, inputs.index, P)[..., None].expand(-1, -1, D)
        seen, said = (_put(state[name], place, new) for name, new in (("x", x), ("h", h)))
        done = (before < P) & (before + first == P)
        if torch.compiler.is_compiling() or bool(done.any()):
            own = self._read_again(seen, said, done, own, inputs)
        # later tokens need a separate call
        take = (number + first[:, None]).clamp_max(T - 1)
        rest = inputs.pick(lambda t: take_tokens(t, take))
        rest = rest.replace(mask=number < (inputs.lengths - first)[:, None], index=rest.index - self.saved)
        z, own = self.inner.stream(rest.zero(take_tokens(x, take)), own, rest)
        back = (number - first[:, None]).clamp_min(0)
        y = torch.where(mask[..., None], h, take_tokens(z, back))
        return y, {"inner": own, "x": seen, "h": said}

    def _read_again(self, x: Tensor, h: Tensor, done: Tensor, own: State, inputs: Inputs) -> State:
        """Return the inner state after the second pass, for samples whose prompt is ``done`` (B,)."""
        B, P, _ = x.shape
        number = torch.arange(P, device=x.device).expand(B, -1)
        whole = inputs.replace(
            mask=done[:, None].expand(B, P),
            index=number,
            positions=number.to(inputs.positions.dtype),
            call=dataclasses.replace(inputs.call, side={}),
        )
        read, again = self._compressed(x, h, whole)
        fresh = self.inner.own_state(B, x.device, x.dtype)
        _, new = self.inner.stream(again.zero(read), fresh, again)
        return where_rows(done, new, own)


def _put(held: Tensor, place: Tensor, new: Tensor) -> Tensor:
    """Write new (B, T, D) into held (B, P, D) at ``place`` (B, T, D); place P is dropped."""
    room = torch.cat((held, held[:, :1]), 1)
    return room.scatter(1, place, new.to(held.dtype))[:, :-1]
