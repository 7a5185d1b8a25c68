"""Mamba: a state space whose step size, input and output matrices are chosen by each token."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import ShortConv
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.selective_scan import selective_scan
from anyformer.state import State


@register_mixer("mamba", papers=["mamba"], examples=[{}, {"state_dim": 3, "dt_rank": 1, "conv_width": 2}])
class Mamba(Mixer):
    """The Mamba block: a state space whose steps and matrices each token chooses (Gu 2023, figure 3).

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + D x_t.

    Our K is the paper's state size N, our ``skip`` its D. Shapes and the meaning of the parameters are those of
    the original: ``in_proj`` gives x and the gate, ``x_proj`` gives dt, B and C in this order.

    Args:
        state_dim: states of each channel, K.
        expand: width inside the block over dim.
        conv_width: taps of the short convolution.
        dt_rank: rank of the step sizes' projection, by default dim / 16, rounded up.
        conv_bias: a bias on the short convolution.
        bias: biases on the projections in and out.
    """

    def __init__(
        self,
        dim: int,
        *,
        state_dim: int = 16,
        expand: float = 2,
        conv_width: int = 4,
        conv_bias: bool = True,
        dt_rank: int | None = None,
        bias: bool = False,
        causal: bool = True,
    ) -> None:
        super().__init__(dim, causal=causal)
        self.inner_dim = F = round(dim * expand)
        self.state_dim = state_dim
        self.dt_rank = math.ceil(dim / 16) if dt_rank is None else dt_rank
        for name, value in (("state_dim", state_dim), ("dim * expand", F), ("dt_rank", self.dt_rank)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.in_proj = Linear(dim, 2 * F, bias=bias)
        self.conv = ShortConv(F, conv_width, bias=conv_bias, activation="silu")
        self.x_proj = Linear(F, self.dt_rank + 2 * state_dim, bias=False)
        self.dt_proj = Linear(self.dt_rank, F)
        self.A_log = nn.Parameter(torch.arange(1.0, state_dim + 1).log().repeat(F, 1))
        self.skip = nn.Parameter(torch.ones(F))
        self.out_proj = Linear(F, dim, bias=bias)
        self._init_steps()

    @torch.no_grad()
    def _init_steps(self, smallest: float = 1e-3, largest: float = 0.1) -> None:
        """Step sizes spread evenly over the logarithms from ``smallest`` to ``largest`` (section 3.6)."""
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        dt = torch.empty(self.inner_dim).uniform_(math.log(smallest), math.log(largest)).exp()
        self.dt_proj.bias.copy_(dt.expm1().log())  # softplus of it is dt

    @classmethod
    def describe(cls, *, causal: bool = True, **_: Any) -> MixerInfo:
        if not causal:
            raise ValueError("causal=False is not possible for mamba: its state runs along time")
        return MixerInfo(reach=(None, 0), state="constant")

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name in ("A_log", "skip", "dt_proj.bias")}

    def _mix(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        x, gate = self.in_proj(x).chunk(2, -1)
        x, conv = self.conv(inputs.zero(x), state.get("conv"), inputs.mask)
        x = inputs.zero(x)
        dt, B_, C_ = self.x_proj(x).split((self.dt_rank, self.state_dim, self.state_dim), -1)
        dt = inputs.zero(self.dt_proj(dt), -math.inf)  # softplus of which is zero
        A = -self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)).exp()
        options = {"initial": state.get("h"), "gate": gate.mT, "dt_softplus": True}
        y, h = selective_scan(x.mT, dt.mT, A, B_.mT, C_.mT, self.skip, **options)
        return self.out_proj(y.mT), {"h": h, "conv": conv}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._mix(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        h = torch.zeros(batch_size, self.inner_dim, self.state_dim, device=device, dtype=wide)
        return {"h": h, "conv": self.conv.init_state(batch_size, device, dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        return self._mix(x, state, inputs)
