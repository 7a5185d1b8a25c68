"""Mixture-of-depths: a stack for a part of the tokens."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from anyformer.contract import GROWTHS, Inputs, Mixer, MixerInfo, Wrapper, take_tokens
from anyformer.layers.linear import Linear
from anyformer.state import State
from anyformer.wrappers import register_wrapper


@register_wrapper("mixture_of_depths")
class MixtureOfDepths(Wrapper):
    """A stack for the tokens that a router ranks highest; the others bypass it (Raposo 2024, eq. 1).

    y_t = r_t f(routed tokens)_t for routed tokens, with r_t the router's weight, and zero for the others, which the
    residual stream around this wrapper leaves unchanged.

    In training the best share ``capacity`` of each sequence is routed, which depends on later tokens. A small predictor
    learns from each token alone whether it is routed, and decides in evaluation and streaming (section 3.5, the second
    method). Its loss is ``call.losses["mixture_of_depths"]``, whose gradient reaches the predictor only.

    Args:
        inner: a mixer; it sees only the routed tokens, renumbered, at their original positions.
        capacity: share of a sequence's tokens that is routed in training, rounded up.
        predictor_dim: hidden width of the predictor.
        predictor_loss: weight of its loss.
    """

    class Options(Wrapper.Options):
        capacity: float = 0.125
        predictor_dim: int = 32
        predictor_loss: float = 0.01

        def info(self, inner: MixerInfo) -> MixerInfo:
            if not 0 < self.capacity <= 1:
                raise ValueError(f"capacity must be above 0 and at most 1, got {self.capacity}")
            self.refuse_grids("bypassing tokens", inner=inner)
            past, future = inner.reach
            exceptions = {
                **inner.exceptions,
                "modes": "training routes the best tokens of the whole sequence, evaluation those that a causal "
                "predictor takes for such (the paper's section 3.5)",
            }
            return dataclasses.replace(
                inner,
                reach=(
                    0 if past == 0 else None,
                    0 if future == 0 else None,
                ),  # of routed tokens; others lie between
                cost=max(inner.cost, "n", key=GROWTHS.index),
                memory=max(inner.memory, "n", key=GROWTHS.index),
                state=max(inner.state, "constant", key=GROWTHS.index),
                exceptions=exceptions,
            )

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        self.inner, self.capacity, self.predictor_loss = inner, o.capacity, o.predictor_loss
        self.router = Linear(dim, 1, bias=False)
        self.predictor = nn.Sequential(Linear(dim, o.predictor_dim), nn.SiLU(), Linear(o.predictor_dim, 1))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        weight, logit = self._scores(x)
        best = self._best(weight[..., 0], inputs)
        self._add_loss(logit, best, inputs)
        routed = best if self.training else _real(inputs, logit > 0)
        route = _Route.of(routed, torch.zeros_like(routed[:, :1], dtype=torch.int64))
        y = self.inner(route.down(x), route.inputs(inputs))
        return route.up(y) * weight

    def _scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the router's weights (B, T, 1) and the predictor's logits (B, T), without autocast, as they decide."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.router.weight.dtype)
            return self.router(x), self.predictor(x.detach())[..., 0]

    def _best(self, weight: Tensor, inputs: Inputs) -> Tensor:
        """Return the tokens of the largest weights in each sequence, (B, T) bool."""
        ranked = inputs.zero(weight.detach(), -torch.inf).argsort(dim=1, descending=True, stable=True)
        rank = torch.zeros_like(ranked).scatter(
            1, ranked, torch.arange(ranked.shape[1], device=ranked.device).expand_as(ranked)
        )
        count = (inputs.lengths * self.capacity).ceil()
        return _real(inputs, rank < count[:, None])

    def _add_loss(self, logit: Tensor, best: Tensor, inputs: Inputs) -> None:
        each = binary_cross_entropy_with_logits(logit, best.to(logit.dtype), reduction="none")
        mean = inputs.zero(each).sum() / inputs.lengths.sum().clamp_min(1)
        inputs.call.add_loss("mixture_of_depths", self.predictor_loss * mean)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        routed = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {"routed": routed, "inner": self.inner.own_state(batch_size, device, dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        weight, logit = self._scores(x)
        routed = _real(inputs, logit > 0)
        route = _Route.of(routed, state["routed"][:, None])
        y, inner = self.inner.stream(route.down(x), state["inner"], route.inputs(inputs))
        return route.up(y) * weight, {"routed": state["routed"] + routed.sum(1), "inner": inner}


class _Route(NamedTuple):
    """The routed tokens, first in each sample, and the maps to and from them."""

    take: Tensor  # (B, W) int64: the token of each routed slot
    mask: Tensor  # (B, W) bool: the real routed slots
    number: Tensor  # (B, W) int64: each slot's number among the sequence's routed tokens
    back: Tensor  # (B, T) int64: the routed slot of each token
    routed: Tensor  # (B, T) bool

    @classmethod
    def of(cls, routed: Tensor, before: Tensor) -> _Route:
        """Build from routed (B, T) bool and the number of tokens routed in earlier calls, (B, 1)."""
        T, count = routed.shape[1], routed.sum(1, keepdim=True)
        # a compiled graph cannot have a data-dependent width
        width = T if torch.compiler.is_compiling() or routed.numel() == 0 else int(count.max())
        take = (~routed).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
        place = torch.arange(width, device=routed.device)
        back = (routed.cumsum(1) - 1).clamp(0, max(width - 1, 0))
        return cls(take, place < count, before + place, back, routed)

    def down(self, x: Tensor) -> Tensor:
        """Gather x (B, T, ...) into (B, W, ...), zero where masked."""
        picked = take_tokens(x, self.take)
        return picked.masked_fill(~self.mask.reshape(*self.mask.shape, *(1,) * (x.dim() - 2)), 0)

    def up(self, y: Tensor) -> Tensor:
        """Scatter y (B, W, D) back to (B, T, D), zero where not routed."""
        if y.shape[1] == 0:
            return y.new_zeros(*self.routed.shape, y.shape[2])
        return take_tokens(y, self.back).masked_fill(~self.routed[..., None], 0)

    def inputs(self, inputs: Inputs) -> Inputs:
        """Return the inputs of the routed tokens."""
        return inputs.pick(self.down).replace(mask=self.mask, index=self.number)


def _real(inputs: Inputs, chosen: Tensor) -> Tensor:
    return chosen if inputs.mask is None else chosen & inputs.mask
