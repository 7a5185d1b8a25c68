"""PoolFormer's mixer: the average of the neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.conv import recent
from anyformer.mixers import register_mixer
from anyformer.ops.short_conv import short_conv
from anyformer.state import State


@register_mixer(
    "pooling",
    examples=[{}, {"causal": False}, {"window": 6}, {"window": 7, "causal": False}],
)
class Pooling(Mixer):
    """The average over a window minus the token itself (Yu 2022, eq. 4); it has no parameters.

    The paper's window is centred; with ``causal=True`` it is the last ``window`` tokens. Beyond either end of the
    sequence there is nothing to average.

    Args:
        window: tokens averaged, the token included; odd with ``causal=False``.
    """

    class Options(Mixer.Options):
        window: int = 3

        def info(self) -> MixerInfo:
            if self.window < 2:
                raise ValueError(f"window must be at least 2, got {self.window}")
            if not self.causal and self.window % 2 == 0:
                raise ValueError(f"window must be odd with causal=False, to be centred, got {self.window}")
            if self.causal:
                return MixerInfo(reach=(self.window - 1, 0), state="constant")
            return MixerInfo(reach=(self.window // 2, self.window // 2))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.window = o.window
        self.past, self.future = (o.window - 1, 0) if o.causal else (o.window // 2, o.window // 2)

    def _average(self, x: Tensor, past: Tensor | None, inputs: Inputs) -> Tensor:
        """Return the averages over windows, (B, T, D); x and ``past`` (B, W - 1, D) are zero where no token is."""
        x = pad(x, (0, 0, 0, self.future)) if self.future else x
        total = short_conv(x, x.new_ones(x.shape[2], self.window), past=past)[:, self.future :]
        before = inputs.index.clamp_max(self.past)
        if self.future == 0:
            count = before + 1
        else:
            after = inputs.lengths[:, None] - 1 - inputs.index
            count = before + 1 + after.clamp(0, self.future)
        return total / count[..., None].to(x.dtype)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._average(x, None, inputs) - x

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        past = state["recent"].to(x.dtype)
        y = self._average(x, past, inputs) - x
        return y, {"recent": recent(x, past, self.past, inputs.mask)}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        T = x.shape[1]
        rows = torch.eye(T, device=x.device, dtype=x.dtype).expand(x.shape[0], T, T)
        matrix = self._forward(inputs.zero(rows), inputs)
        return Mixing(matrix[:, None], x[:, None], lambda y: inputs.zero(y[:, 0]))
