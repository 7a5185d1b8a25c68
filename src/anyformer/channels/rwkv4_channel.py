"""RWKV-4's channel mixing, which also reads the token before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from anyformer.channels import register_channel
from anyformer.channels._width import hidden_width
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import token_shift
from anyformer.layers.linear import Linear
from anyformer.state import State


@register_channel("rwkv4_channel")
class Rwkv4Channel(Mixer):
    """y = sigmoid(R x') * V relu(K x'')^2, x' and x'' mixed from the token and the one before (Peng 2023, eq. 14-19).

    Args:
        hidden_dim: width F between the maps, by default ``factor`` * dim.
    """

    class Options(Mixer.Options):
        hidden_dim: int | None = None
        factor: float = 4

        def info(self) -> MixerInfo:
            self.needs_causal(True, "it reads the token before")
            return MixerInfo(reach=(1, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        F = hidden_width(dim, o.hidden_dim, o.factor)
        place = torch.arange(dim) / dim
        self.mix_key = nn.Parameter(place**0.5)
        self.mix_receptance = nn.Parameter(place**0.5)
        self.key = Linear(dim, F, bias=False)
        self.receptance = Linear(dim, dim, bias=False)
        self.value = Linear(F, dim, bias=False)

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name in ("mix_key", "mix_receptance")}

    def _mix(self, x: Tensor, last: Tensor | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
        shifted, last = token_shift(x, last, inputs.mask)
        k = relu(self.key(torch.lerp(shifted, x, self.mix_key.to(x.dtype)))).square()
        r = self.receptance(torch.lerp(shifted, x, self.mix_receptance.to(x.dtype))).sigmoid()
        return r * self.value(k), last

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, None, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"last": torch.zeros(batch_size, 1, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, last = self._mix(x, state["last"], inputs)
        return y, {"last": last}
