"""Convolutions of several widths side by side, and a maximum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, max_pool1d, pad, relu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import join, recent
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.state import State

POOLED = 3
"""Tokens over which the maximum is taken."""


@register_mixer("inception", examples=[{"causal": False}, {}, {"widths": "5"}, {"widths": "3+4+2"}])
class Inception(Mixer):
    """y = [conv_1(W r), ..., conv_n(W r), W_m max(r)] of r = relu(x) (Ismail Fawaz et al. 2020, InceptionTime).

    Each gives D / (n + 1) channels, or as near to it as they can be shared out, and reads as many; the maximum is over
    a token and its neighbours. This is the form for pre-norm layers: norm and relu come before the convolutions, and
    every layer has a residual connection; the paper's follow them, and its connections span three layers.

    Args:
        widths: taps of the convolutions, joined by ``+``; odd with ``causal=False``, where they are centred.
    """

    class Options(Mixer.Options):
        widths: str = "9+19+39"

        def taps(self) -> list[int]:
            """Return the taps of each convolution."""
            parts = str(self.widths).split("+")
            if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
                raise ValueError(
                    f"widths must be numbers of taps from 1 on, joined by +, such as 9+19+39; got {self.widths!r}"
                )
            return [int(part) for part in parts]

        def info(self) -> MixerInfo:
            taps = self.taps()
            if not self.causal and any(width % 2 == 0 for width in taps):
                raise ValueError(f"widths must be odd with causal=False, to be centred, got {self.widths!r}")
            past, future = _reach(max(*taps, POOLED), self.causal)
            return MixerInfo(reach=(past, future), state="constant" if self.causal else "none")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.taps, self.causal = self.options.taps(), self.options.causal
        branches = len(self.taps) + 1
        if dim < branches:
            raise ValueError(f"dim must be at least {branches}, one more than the widths, got {dim}")
        self.past, self.future = _reach(max(*self.taps, POOLED), self.causal)
        width = dim // branches
        *shares, last = (dim * (i + 1) // branches - dim * i // branches for i in range(branches))
        self.into = Linear(dim, width, bias=False)
        bounds = [(width * taps) ** -0.5 for taps in self.taps]  # PyTorch's default for a convolution
        self.weights = nn.ParameterList(
            torch.empty(share, width, taps).uniform_(-bound, bound)
            for share, taps, bound in zip(shares, self.taps, bounds)
        )
        self.pooled = Linear(dim, last, bias=False)
        self.bias = nn.Parameter(torch.zeros(dim))

    def _mix(self, r: Tensor) -> Tensor:
        """Return y (B, T, D) of r (B, past + T + future, D), zeros outside the sequence."""
        z = self.into(r).mT
        found = [conv1d(self._near(z, len(w[0, 0])), w.to(z.dtype)) for w in self.weights]
        top = max_pool1d(self._near(r.mT, POOLED), POOLED, 1)
        return torch.cat([*(y.mT for y in found), self.pooled(top.mT)], -1) + self.bias

    def _near(self, x: Tensor, width: int) -> Tensor:
        """Cut x (B, C, past + T + future) to what a window of that width sees."""
        past, future = _reach(width, self.causal)
        return x[..., self.past - past : x.shape[-1] - (self.future - future)]

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(pad(relu(x), (0, 0, self.past, self.future)))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"recent": torch.zeros(batch_size, self.past, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        r, past = relu(x), state["recent"]
        return self._mix(join(r, past, self.past)), {"recent": recent(r, past, self.past, inputs.mask)}


def _reach(width: int, causal: bool) -> tuple[int, int]:
    return (width - 1, 0) if causal else (width // 2, width // 2)
