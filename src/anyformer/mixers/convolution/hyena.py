"""Hyena: gates between long convolutions whose kernels a small network computes."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.constants import register_constant
from anyformer.layers.conv import ShortConv
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.long_conv import long_conv
from anyformer.state import State


def _waves(max_length: int, num_waves: int) -> Tensor:
    """Return angular frequencies (num_waves,) of periods from 4 tokens to four times the longest sequence."""
    periods = torch.logspace(math.log2(4), math.log2(max(4 * max_length, 8)), num_waves, base=2)
    return 2 * torch.pi / periods


class ImplicitFilter(nn.Module):
    """Kernels from a sine network on features of the lag, times a decaying window (section 3.3).

    Unlike in the paper, the features' periods and the windows' widths are spaced logarithmically from a few tokens to
    ``max_length``, so that a large ``max_length`` costs no resolution at small lags, and windows have unit energy.

    Args:
        dim, order: ``order`` kernels for each of ``dim`` channels.
        max_length: the longest sequence.
        hidden_dim: width of the network.
        num_waves: sines and cosines among the features.
        network: with False only the features and the window, for a network on the lags of several axes.
    """

    waves: Tensor

    def __init__(
        self,
        dim: int,
        order: int,
        max_length: int,
        *,
        hidden_dim: int,
        num_waves: int = 8,
        network: bool = True,
    ) -> None:
        super().__init__()
        register_constant(self, "waves", partial(_waves, max_length, num_waves))
        widths = torch.logspace(0, math.log2(max(max_length / 3, 2)), dim, base=2)
        self.log_width = nn.Parameter(widths.log().repeat(order))
        self.dim, self.order, self.max_length = dim, order, max_length
        if network:
            self.into = Linear(1 + 2 * num_waves, hidden_dim)
            self.inner = Linear(hidden_dim, hidden_dim)
            self.out = Linear(hidden_dim, order * dim, bias=False)

    def features(self, num_lags: int) -> Tensor:
        """Return the lag, its sines and its cosines, (lags, features), in at least float32."""
        lag = self._lags(num_lags)
        angle = lag * self.waves.to(lag.dtype)
        return torch.cat((lag / self.max_length, angle.sin(), angle.cos()), -1)

    def window(self, num_lags: int) -> Tensor:
        """Return the windows, (lags, order * dim)."""
        lag = self._lags(num_lags)
        rate = (-self.log_width.to(lag.dtype)).exp()
        return (-lag * rate).exp() * (-torch.expm1(-2 * rate)).sqrt()

    def _lags(self, num_lags: int) -> Tensor:
        wide = torch.promote_types(self.log_width.dtype, torch.float32)
        return torch.arange(num_lags, device=self.waves.device, dtype=wide)[:, None]

    def forward(self, num_lags: int) -> Tensor:
        """Return the kernels for lags 0 to ``num_lags`` - 1, (order, dim, lags)."""
        features = self.features(num_lags).to(self.into.weight.dtype)
        h = self.out(self.inner(self.into(features).sin()).sin())
        return (h * self.window(num_lags)).mT.unflatten(0, (self.order, self.dim))


@register_mixer(
    "hyena",
    examples=[{"max_length": 256}, {"order": 3, "max_length": 200, "hidden_dim": 8}],
)
class Hyena(Mixer):
    """Alternating implicit long convolutions and gates (Poli 2023, definition 3.1).

    z_1 = v, z_{n+1} = x_n * (h_n conv z_n + b_n z_n), y = out(z_{N+1}).

    v and the N gates x_n are projections of the input after a convolution of width 3; h_n is causal and as long
    as the sequence. Streaming keeps the inputs of the N long convolutions, as a key cache would.

    Args:
        order: N, the number of gates.
        max_length: the longest sequence.
        hidden_dim: width of the kernels' network.
        conv_width: taps of the short convolution.
    """

    class Options(Mixer.Options):
        order: int = 2
        max_length: int = 8192
        hidden_dim: int = 32
        conv_width: int = 3

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its convolutions are causal")
            if self.max_length < 1:
                raise ValueError(f"max_length must be at least 1, got {self.max_length}")
            return MixerInfo(reach=(None, 0), cost="n log n", state="n", max_length=self.max_length)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.order < 1 or o.hidden_dim < 1:
            raise ValueError(f"order and hidden_dim must be at least 1, got {o.order} and {o.hidden_dim}")
        self.order, self.max_length = o.order, o.max_length
        self.into = Linear(dim, (o.order + 1) * dim)
        self.conv = ShortConv((o.order + 1) * dim, o.conv_width)
        self.filter = ImplicitFilter(dim, o.order, o.max_length, hidden_dim=o.hidden_dim)
        self.skip = nn.Parameter(torch.randn(o.order, dim))
        self.out = Linear(dim, dim)

    def hints(self) -> dict[str, dict[str, Any]]:
        return {"skip": {"decay": False}, "filter.log_width": {"decay": False}}

    def _mix(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        u, conv = self.conv(inputs.zero(self.into(x)), state.get("conv"), inputs.mask)
        *gates, z = inputs.zero(u).chunk(self.order + 1, -1)
        T, past = x.shape[1], state.get("past")
        length = T if past is None else T + past.shape[2]
        kernels = self.filter(min(length, self.max_length))
        kept = []
        for n, gate in enumerate(gates):
            before = None if past is None else past[:, n].mT
            kept.append(z)
            z = gate * long_conv(z.mT, kernels[n], skip=self.skip[n], past=before).mT.to(x.dtype)
        if past is not None:
            past = self._append(past, torch.stack(kept, 1), inputs)
        return self.out(z), {"conv": conv, "past": past}

    def _append(self, past: Tensor, new: Tensor, inputs: Inputs) -> Tensor:
        """Append new to past inputs (B, N, T, D), aligned so that each sample's last real token is at the end."""
        joined = torch.cat((past, new), 2)
        T, size = new.shape[2], joined.shape[2]
        if inputs.mask is not None:
            place = torch.arange(size, device=new.device) - (T - inputs.lengths[:, None])
            place = place[:, None, :, None]
            joined = joined.gather(2, place.clamp_min(0).expand_as(joined)).masked_fill(place < 0, 0)
        return joined[:, :, max(0, size - self.max_length) :]

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, {}, inputs)[0] if x.shape[1] else x

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        past = torch.zeros(batch_size, self.order, 0, self.dim, device=device, dtype=dtype)
        return {"conv": self.conv.init_state(batch_size, device, dtype), "past": past}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return self._mix(x, state, inputs) if x.shape[1] else (x, state)
