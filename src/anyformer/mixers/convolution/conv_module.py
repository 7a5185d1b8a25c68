"""The convolution module: a gated pointwise map, a short grouped convolution, a norm and a pointwise map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, glu, pad, silu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import join, recent
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.state import State


@register_mixer(
    "conv_module",
    examples=[{}, {"causal": False}, {"kernel": 4, "group_size": 1}],
)
class ConvModule(Mixer):
    """y = W_2 silu(norm(conv(GLU(W_1 x)))), the convolution over time and within groups of channels.

    It is GroupBERT's convolution module (Chelombiev 2021, section 3.1); with ``group_size=1`` the Conformer's depthwise
    one, without its batch norm.

    Args:
        kernel: taps; odd with ``causal=False``, where the convolution is centred.
        group_size: channels that a group mixes, a divisor of dim.
    """

    class Options(Mixer.Options):
        kernel: int = 7
        group_size: int = 16

        def info(self) -> MixerInfo:
            if self.kernel < 2:
                raise ValueError(f"kernel must be at least 2, got {self.kernel}")
            if self.causal:
                return MixerInfo(reach=(self.kernel - 1, 0), state="constant")
            if self.kernel % 2 == 0:
                raise ValueError(f"kernel must be odd with causal=False, to be centred, got {self.kernel}")
            return MixerInfo(reach=(self.kernel // 2, self.kernel // 2))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.group_size < 1 or dim % o.group_size:
            raise ValueError(f"group_size must divide dim={dim}, got {o.group_size}")
        self.past, self.future = o.kernel - 1, 0
        if not o.causal:
            self.past = self.future = o.kernel // 2
        self.groups = dim // o.group_size
        self.expand = Linear(dim, 2 * dim)
        bound = (o.group_size * o.kernel) ** -0.5  # PyTorch's default for a convolution
        self.weight = nn.Parameter(torch.empty(dim, o.group_size, o.kernel).uniform_(-bound, bound))
        self.norm = nn.LayerNorm(dim)
        self.out = Linear(dim, dim)

    def _convolve(self, joined: Tensor) -> Tensor:
        """Convolve (B, past + T + future, D) to the output (B, T, D)."""
        y = conv1d(joined.transpose(1, 2), self.weight.to(joined.dtype), groups=self.groups).transpose(1, 2)
        return self.out(silu(self.norm(y)))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._convolve(pad(inputs.zero(glu(self.expand(x))), (0, 0, self.past, self.future)))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        x, past = inputs.zero(glu(self.expand(x))), state["recent"]
        kept = {"recent": recent(x, past, self.past, inputs.mask)}
        return self._convolve(join(x, past, self.past)), kept
