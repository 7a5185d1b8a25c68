"""Mamba: a state space with data-dependent step sizes and input and output matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing, SideInput
from anyformer.layers.conv import ShortConv
from anyformer.layers.linear import Linear, call_roomy
from anyformer.mixers import register_mixer
from anyformer.ops.selective_scan import selective_scan
from anyformer.precision import roomy
from anyformer.state import State

INITS = ("usual", "mimetic")


@torch.no_grad()
def mimic_attention(
    conv: ShortConv, B_: Tensor, C_: Tensor, dt: Tensor, dt_bias: Tensor, A_log: Tensor
) -> None:
    """Initialise a selective state space as linear attention, in place (Trockman 2024, arXiv 2410.11135, section 3).

    Almost no decay (A times e^-8), steps of almost one for all tokens, the maps to B and to C both set to their mean,
    so that C_t^T B_s measures the similarity of t and s, and a convolution close to the identity.
    """
    mean = (B_ + C_) / 2
    B_.copy_(mean)
    C_.copy_(mean)
    dt.mul_(0.01)
    dt_bias.fill_(math.log(math.e - 1))  # softplus(dt_bias) = 1
    A_log.sub_(8)
    conv.weight.mul_(0.1)
    conv.weight[:, -1] = 1
    if conv.bias is not None:
        conv.bias.zero_()


@register_mixer(
    "mamba",
    examples=[
        {},
        {"state_dim": 3, "dt_rank": 1, "conv_width": 2},
        {"selective": False, "state_dim": 4},
        {"init": "mimetic", "state_dim": 4},
    ],
)
class Mamba(Mixer):
    """The Mamba block: a selective state space (Gu 2023, figure 3).

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
        selective: compute dt, B and C from the token; else they are parameters, and the block is a gated linear
            time-invariant state space, as S4 (the paper's ablation, table 7).
        init: ``usual``, or ``mimetic``: like linear attention at the start (:func:`mimic_attention`).

    The side input ``step_scale`` (B, T) multiplies the step sizes (see ``remamba``).
    """

    class Options(Mixer.Options):
        state_dim: int = 16
        expand: float = 2
        conv_width: int = 4
        conv_bias: bool = True
        dt_rank: int | None = None
        bias: bool = False
        selective: bool = True
        init: str = "usual"

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its state runs along time")
            return MixerInfo(reach=(None, 0), state="constant", side={"step_scale": SideInput(absent=1)})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.init not in INITS or (o.init == "mimetic" and not o.selective):
            raise ValueError(f"init must be usual, or mimetic with selective=True, got {o.init!r}")
        self.selective = o.selective
        self.inner_dim = F = round(dim * o.expand)
        self.state_dim = o.state_dim
        self.dt_rank = math.ceil(dim / 16) if o.dt_rank is None else o.dt_rank
        for name, value in (("state_dim", o.state_dim), ("dim * expand", F), ("dt_rank", self.dt_rank)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.in_proj = Linear(dim, 2 * F, bias=o.bias)
        self.conv = ShortConv(F, o.conv_width, bias=o.conv_bias, activation="silu")
        if o.selective:
            self.x_proj = Linear(F, self.dt_rank + 2 * o.state_dim, bias=False)
            self.dt_proj = Linear(self.dt_rank, F)
        else:
            self.dt = nn.Parameter(torch.empty(F))
            self.B, self.C = nn.Parameter(torch.randn(o.state_dim)), nn.Parameter(torch.randn(o.state_dim))
        self.A_log = nn.Parameter(torch.arange(1.0, o.state_dim + 1).log().repeat(F, 1))
        self.skip = nn.Parameter(torch.ones(F))
        self.out_proj = Linear(F, dim, bias=o.bias)
        self._init_steps()
        if o.init == "mimetic":
            self._mimic()

    @torch.no_grad()
    def _init_steps(self, smallest: float = 1e-3, largest: float = 0.1) -> None:
        """Step sizes spread evenly over the logarithms from ``smallest`` to ``largest`` (section 3.6)."""
        dt = torch.empty(self.inner_dim).uniform_(math.log(smallest), math.log(largest)).exp()
        if self.selective:
            nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        (self.dt_proj.bias if self.selective else self.dt).copy_(dt.expm1().log())  # its softplus is dt

    def _mimic(self) -> None:
        _, B_, C_ = self.x_proj.weight.split((self.dt_rank, self.state_dim, self.state_dim))
        mimic_attention(self.conv, B_, C_, self.dt_proj.weight, self.dt_proj.bias, self.A_log)

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"step_scale": torch.rand(batch_size, length, generator=generator, dtype=torch.float64) + 0.5}

    def hints(self) -> dict[str, dict[str, Any]]:
        names = ("dt_proj.bias",) if self.selective else ("dt", "B", "C")
        return {name: {"decay": False} for name in ("A_log", "skip", *names)}

    def _choose(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return dt before softplus (B, T, F), and B and C (B, T, K), for x (B, T, F)."""
        if self.selective:
            dt, B_, C_ = self.x_proj(x).split((self.dt_rank, self.state_dim, self.state_dim), -1)
            return self.dt_proj(dt), B_, C_
        B_, C_ = (p.expand(*x.shape[:2], self.state_dim) for p in (self.B, self.C))
        return self.dt.expand_as(x), B_, C_

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        x, gate = self.in_proj(x).chunk(2, -1)
        x, conv = self.conv(inputs.zero(x), state.get("conv"), inputs.mask)
        x = inputs.zero(x)
        dt, B_, C_ = self._choose(x)
        dt, A = inputs.zero(dt, -math.inf), self._rates()  # whose softplus is 0
        scale = inputs.call.side.get("step_scale")
        if scale is not None:
            dt = softplus(dt) * scale.to(dt.dtype)[..., None]
        options = {"initial": state.get("h"), "gate": gate.mT, "dt_softplus": scale is None}
        y, h = selective_scan(roomy(x).mT, dt.mT, A, B_.mT, C_.mT, self.skip, **options)
        return call_roomy(self.out_proj, y.mT, x.dtype).to(x.dtype), {"h": h, "conv": conv}

    def _rates(self) -> Tensor:
        return -self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)).exp()

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        h = torch.zeros(batch_size, self.inner_dim, self.state_dim, device=device, dtype=wide)
        return {"h": h, "conv": self.conv.init_state(batch_size, device, dtype)}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        """Return a matrix per channel F: C_t^T exp(A (dt_{s+1} + ... + dt_t)) B_s dt_s, plus the skip."""
        x, gate = self.in_proj(x).chunk(2, -1)
        x = inputs.zero(self.conv(inputs.zero(x), None, inputs.mask)[0])
        dt, B_, C_ = self._choose(x)
        dt = softplus(inputs.zero(dt, -math.inf)).mT  # (B, F, T)
        if "step_scale" in inputs.call.side:
            dt = dt * inputs.call.side["step_scale"].to(dt.dtype)[:, None]
        time = dt.cumsum(-1)
        past = (time[..., None] - time[..., None, :]).tril()
        decay = (past[..., None] * self._rates()[:, None, None]).exp()  # (B, F, T, S, K)
        matrix = torch.einsum("btk,bdtsk,bsk->bdts", C_, decay, B_).tril() * dt[..., None, :]
        matrix = matrix + torch.diag_embed(self.skip[:, None].expand(-1, x.shape[1]))
        return Mixing(
            matrix, x.mT[..., None], lambda y: inputs.zero(self.out_proj(y[..., 0].mT * silu(gate)))
        )
