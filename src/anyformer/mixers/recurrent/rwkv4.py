"""RWKV-4's time mixing: softmax averages with a learned decay per channel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import token_shift
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.softmax_scan import SoftmaxState, softmax_scan
from anyformer.state import State


@register_mixer("rwkv4", examples=[{}, {"hidden_dim": 12}])
class Rwkv4(Mixer):
    """RWKV-4's time mixing: a decaying softmax average, with token shift (Peng 2023, eq. 11-18).

    Our ``bonus`` is their u, exp(``log_decay``) their w.

    wkv_t averages v_s with weights exp(k_s - (t - 1 - s) w) for s < t and exp(k_t + u) for the token itself.

    Args:
        hidden_dim: width of keys, values and receptance, by default dim.
    """

    class Options(Mixer.Options):
        hidden_dim: int | None = None

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its decay runs along time")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.hidden_dim = F = dim if o.hidden_dim is None else o.hidden_dim
        if F < 1:
            raise ValueError(f"hidden_dim must be at least 1, got {F}")
        place = torch.arange(dim) / dim
        self.mix_key = nn.Parameter(place**0.5)
        self.mix_value = nn.Parameter(place**0.5 + 0.15)
        self.mix_receptance = nn.Parameter(place**0.25)
        # the paper's initial values (appendix E), for a middle layer
        self.log_decay = nn.Parameter(-5 + 8 * (torch.arange(F) / max(F - 1, 1)) ** 1.35)
        self.bonus = nn.Parameter(math.log(0.3) + 0.5 * ((torch.arange(F) + 1) % 3 - 1))
        self.key = Linear(dim, F, bias=False)
        self.value = Linear(dim, F, bias=False)
        self.receptance = Linear(dim, F, bias=False)
        self.output = Linear(F, dim, bias=False)

    def hints(self) -> dict[str, dict[str, Any]]:
        names = ("log_decay", "bonus", "mix_key", "mix_value", "mix_receptance")
        return {name: {"decay": False} for name in names}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        shifted, last = token_shift(x, state.get("last"), inputs.mask)
        k = self.key(torch.lerp(shifted, x, self.mix_key.to(x.dtype)))
        v = self.value(torch.lerp(shifted, x, self.mix_value.to(x.dtype)))
        r = self.receptance(torch.lerp(shifted, x, self.mix_receptance.to(x.dtype))).sigmoid()
        decay = -self.log_decay.to(torch.promote_types(x.dtype, torch.float32)).exp()[None]
        if inputs.mask is not None:  # a masked token has no weight and no decay
            k = inputs.zero(k, -torch.inf)
            decay = inputs.mask[:, None, :, None] * decay
        initial = SoftmaxState(*(state[n].unsqueeze(1) for n in "muw")) if state else None
        y, final = softmax_scan(
            k.unsqueeze(1), v.unsqueeze(1), decay, bonus=self._bonus(decay), initial=initial
        )
        y = y.squeeze(1).to(x.dtype)
        return self.output(r * y), {"last": last, **{n: s.squeeze(1) for n, s in zip("muw", final)}}

    def _bonus(self, decay: Tensor) -> Tensor:
        """Return the op's bonus, u plus the log decay: the op decays the past once more than the paper does."""
        return (self.bonus - self.log_decay.exp())[None].to(decay.dtype)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        zeros = torch.zeros(batch_size, self.hidden_dim, device=device, dtype=wide)
        last = torch.zeros(batch_size, 1, self.dim, device=device, dtype=dtype)
        return {"last": last, "m": torch.full_like(zeros, -torch.inf), "u": zeros, "w": zeros.clone()}
