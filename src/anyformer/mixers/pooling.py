"""PoolFormer's mixer: the average of the neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.mixers import register_mixer
from anyformer.state import State


@register_mixer(
    "pooling",
    papers=["metaformer"],
    examples=[{}, {"causal": False}, {"window": 6}, {"window": 7, "causal": False}],
)
class Pooling(Mixer):
    """The average over a window less the token itself (Yu 2022, eq. 4); it has no parameters.

    The paper's window is centred; ``causal=True`` takes the last ``window`` tokens instead. Tokens that are not there,
    at either end, do not count.

    Args:
        window: tokens averaged, oneself included; odd when centred.
    """

    def __init__(self, dim: int, *, window: int = 3, causal: bool = True) -> None:
        super().__init__(dim, window=window, causal=causal)
        self.window = window
        self.past, self.future = (window - 1, 0) if causal else (window // 2, window // 2)

    @classmethod
    def describe(cls, *, window: int = 3, causal: bool = True, **_: Any) -> MixerInfo:
        if window < 2:
            raise ValueError(f"window must be at least 2, got {window}")
        if not causal and window % 2 == 0:
            raise ValueError(f"window must be odd with causal=False, to be centred, got {window}")
        if causal:
            return MixerInfo(reach=(window - 1, 0), state="constant")
        return MixerInfo(reach=(window // 2, window // 2))

    def _average(self, x: Tensor, inputs: Inputs) -> Tensor:
        """x (B, past + T + future, D), zero where nothing is, to (B, T, D)."""
        T = inputs.index.shape[1]
        total = x[:, :T] + x[:, 1 : 1 + T]
        for ahead in range(2, self.window):
            total = total + x[:, ahead : ahead + T]
        before = inputs.index.clamp_max(self.past)
        if self.future == 0:
            count = before + 1
        else:
            after = inputs.lengths[:, None] - 1 - inputs.index
            count = before + 1 + after.clamp(0, self.future)
        return total / count[..., None].to(x.dtype)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._average(pad(x, (0, 0, self.past, self.future)), inputs) - x

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        both = torch.cat([state["recent"].to(x.dtype), x], 1)
        last = inputs.lengths[:, None] + torch.arange(self.past, device=x.device)
        recent = both.gather(1, last[..., None].expand(-1, -1, self.dim))
        return self._average(both, inputs) - x, {"recent": recent}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        T = x.shape[1]
        rows = torch.eye(T, device=x.device, dtype=x.dtype).expand(x.shape[0], T, T)
        matrix = self._forward(inputs.zero(rows), inputs)
        return Mixing(matrix[:, None], x[:, None], lambda y: inputs.zero(y[:, 0]))
