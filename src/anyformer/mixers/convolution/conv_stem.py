"""A stack of short causal convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import join, recent
from anyformer.mixers import register_mixer
from anyformer.state import State


@register_mixer("conv_stem", examples=[{}, {"depth": 1, "width": 2}])
class ConvStem(Mixer):
    """A stack of dense convolutions over a few tokens, with relu between (Liu 2024, section 4.1).

    Causal here, so that it streams; the paper's are centred.

    Args:
        depth: convolutions.
        width: taps of each.
    """

    class Options(Mixer.Options):
        depth: int = 2
        width: int = 3

        def info(self) -> MixerInfo:
            for name, value in (("depth", self.depth), ("width", self.width)):
                if value < 1:
                    raise ValueError(f"{name} must be at least 1, got {value}")
            self.needs_causal(True, "its convolutions look back")
            return MixerInfo(reach=(self.depth * (self.width - 1), 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.width = o.width
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, o.width) for _ in range(o.depth))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, [None] * len(self.convs), inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.width - 1, self.dim)
        return [torch.zeros(shape, device=device, dtype=dtype) for _ in self.convs]

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        new = []
        for i, (conv, past) in enumerate(zip(self.convs, state, strict=True)):
            x = inputs.zero(relu(x) if i else x)
            joined = join(x, past, self.width - 1)
            new.append(recent(x, past, self.width - 1, inputs.mask))
            x = conv(joined.mT).mT if x.shape[1] else x
        return x, new
