"""The convolution module: a gated pointwise map, a short grouped convolution, a norm and a pointwise map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, glu, pad, silu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import recent
from anyformer.mixers import register_mixer
from anyformer.state import State


@register_mixer(
    "conv_module",
    papers=["groupbert"],
    examples=[{}, {"causal": False}, {"kernel": 4, "group_size": 1}],
)
class ConvModule(Mixer):
    """y = W_2 silu(norm(conv(GLU(W_1 x)))), the convolution over time and within groups of channels.

    It is GroupBERT's convolution module (Chelombiev 2021, section 3.1), and with ``group_size=1`` the depthwise one of
    the Conformer but for its batch norm.

    Args:
        kernel: taps; odd where centred. ``causal=True`` takes the last ones instead.
        group_size: channels that a group mixes, a divisor of dim.
    """

    def __init__(self, dim: int, *, kernel: int = 7, group_size: int = 16, causal: bool = True) -> None:
        super().__init__(dim, kernel=kernel, causal=causal)
        if group_size < 1 or dim % group_size:
            raise ValueError(f"group_size must divide dim={dim}, got {group_size}")
        self.past, self.future = kernel - 1, 0
        if not causal:
            self.past = self.future = kernel // 2
        self.groups = dim // group_size
        self.expand = nn.Linear(dim, 2 * dim)
        bound = (group_size * kernel) ** -0.5  # PyTorch's default for a convolution
        self.weight = nn.Parameter(torch.empty(dim, group_size, kernel).uniform_(-bound, bound))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)

    @classmethod
    def describe(cls, *, kernel: int = 7, causal: bool = True, **_: Any) -> MixerInfo:
        if kernel < 2:
            raise ValueError(f"kernel must be at least 2, got {kernel}")
        if causal:
            return MixerInfo(reach=(kernel - 1, 0), state="constant")
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd with causal=False, to be centred, got {kernel}")
        return MixerInfo(reach=(kernel // 2, kernel // 2))

    def _convolve(self, joined: Tensor) -> Tensor:
        """(B, past + T + future, D) to the output (B, T, D)."""
        y = conv1d(joined.transpose(1, 2), self.weight.to(joined.dtype), groups=self.groups).transpose(1, 2)
        return self.out(silu(self.norm(y)))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._convolve(pad(inputs.zero(glu(self.expand(x))), (0, 0, self.past, self.future)))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        new = inputs.zero(glu(self.expand(x)))
        past = state["recent"].to(new.dtype)
        if x.shape[1] == 0:
            return x, state
        y = self._convolve(torch.cat([past, new], 1))
        return y, {"recent": recent(new, past, self.past, inputs.mask)}
