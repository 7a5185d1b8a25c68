"""Position vectors computed from the text by a small stack."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call, Inputs, Mixer, MixerInfo, SideInput, Wrapper
from anyformer.layers.waves import waves
from anyformer.state import State
from anyformer.wrappers import register_wrapper


@register_wrapper("dynamic_positions")
class DynamicPositions(Wrapper):
    """Position vectors computed by a stack from the tokens and their sinusoids (Zheng 2022, section 3).

    As the first layer of an encoder it adds o = f(x + waves(i)) to the embedded text. If the side input ``order``
    (B, T), the target position of each token's translation (-1 = none), is given, the loss ``order`` is
    weight * mean (o_i - waves(order_i))^2, so that the vectors encode the order of the target.

    Args:
        inner: f.
        weight: of the loss, the paper's lambda.
    """

    class Options(Wrapper.Options):
        weight: float = 0.5

        def info(self, inner: MixerInfo) -> MixerInfo:
            if self.weight < 0:
                raise ValueError(f"weight must not be negative, got {self.weight}")
            return dataclasses.replace(inner, side={**inner.side, "order": SideInput(absent=-1)})

    options: Options

    def __init__(self, dim: int, inner: Mixer, **options: Any) -> None:
        super().__init__(dim, inner, **options)
        o = self.options
        self.inner, self.weight = inner, o.weight

    def _placed(self, x: Tensor, inputs: Inputs) -> Tensor:
        return inputs.zero(x + waves(inputs.positions, self.dim).to(x.dtype))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = self.inner(self._placed(x, inputs), inputs)
        self._add_loss(y, inputs, inputs.call)
        return y

    def _add_loss(self, y: Tensor, inputs: Inputs, call: Call) -> None:
        order = call.side.get("order")
        if order is None:
            return
        known = inputs.zero(order >= 0, False)
        target = waves(order.to(inputs.positions.dtype), self.dim)
        wide = torch.promote_types(y.dtype, torch.float32)
        far = (y.to(wide) - target.to(wide)).square().mean(-1).masked_fill(~known, 0.0)
        call.add_loss("order", self.weight * far.sum() / known.sum().clamp_min(1))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return self.inner.own_state(batch_size, device, dtype)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return self.inner.stream(self._placed(x, inputs), state, inputs)

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        order = torch.randint(-1, length, (batch_size, length), generator=generator)
        return {**super().example_side(batch_size, length, generator), "order": order}
