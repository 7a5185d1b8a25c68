"""Mamba-2: a selective state space with one decay per head and token, a form of linear attention."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.conv import ShortConv
from anyformer.layers.heads import merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.mixers.state_space.mamba import INITS, mimic_attention
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.rms_norm import rms_norm
from anyformer.precision import widen
from anyformer.state import State


class SelectiveInputs(NamedTuple):
    """Data-dependent inputs of the state space: x (B, H, T, V), dt (B, H, T), B and C (B, H, T, K)."""

    x: Tensor
    dt: Tensor
    B: Tensor
    C: Tensor


def ssd(chosen: SelectiveInputs, A: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Run S_t = exp(dt_t A) S_{t-1} + B_t (dt_t x_t)^T, y_t = C_t^T S_t, with A (H,) negative.

    It is linear attention of queries C, keys B, values dt x, with a decay per head and token (Dao 2024, section 5).

    Returns:
        y (B, H, T, V) and the state (B, H, K, V), both in at least float32.
    """
    x, dt, B_, C_ = chosen
    return linear_attention(C_, B_, dt[..., None] * widen(x), log_decay=dt * A[:, None], initial=initial)


def ssd_matrix(chosen: SelectiveInputs, A: Tensor) -> Tensor:
    """Return :func:`ssd` as a matrix over the tokens, (B, H, T, S): C_t^T B_s exp(A (dt_{s+1} + ... + dt_t)) dt_s."""
    time = chosen.dt.cumsum(-1)
    decay = ((time[..., None] - time[..., None, :]).tril() * A[:, None, None]).exp()
    return (chosen.C @ chosen.B.mT * decay * chosen.dt[..., None, :]).tril()


def initial_steps(num_heads: int, smallest: float = 1e-3, largest: float = 0.1) -> Tensor:
    """Return (num_heads,) numbers whose softplus is spaced logarithmically from ``smallest`` to ``largest``."""
    return torch.empty(num_heads).uniform_(math.log(smallest), math.log(largest)).exp().expm1().log()


def check_sizes(dim: int, num_heads: int, num_groups: int, state_dim: int, expand: float) -> int:
    """Return the inner width F = dim * expand; raise ``ValueError`` unless heads and groups divide it."""
    F = round(dim * expand)
    if state_dim < 1:
        raise ValueError(f"state_dim must be at least 1, got {state_dim}")
    if num_heads < 1 or F < 1 or F % num_heads:
        raise ValueError(f"num_heads must divide dim * expand = {F}, got {num_heads}")
    if num_groups < 1 or num_heads % num_groups:
        raise ValueError(f"num_groups must divide num_heads={num_heads}, got {num_groups}")
    return F


class GatedNorm(nn.Module):
    """RMS norm within groups of channels: weight * norm(y * silu(gate)), or weight * norm(y) * silu(gate).

    Args:
        dim: channels. num_groups: groups of channels. before: norm before gate.
    """

    def __init__(self, dim: int, num_groups: int = 1, *, eps: float = 1e-5, before: bool = False) -> None:
        super().__init__()
        self.num_groups, self.eps, self.before = num_groups, eps, before
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, y: Tensor, gate: Tensor) -> Tensor:
        """Return the gated norm of y and gate (..., dim), in the dtype of the gate."""
        y = widen(y) if self.before else widen(y) * silu(gate)
        y = rms_norm(y.unflatten(-1, (self.num_groups, -1)), None, self.eps).flatten(-2) * self.weight
        return (y * silu(gate) if self.before else y).to(gate.dtype)


@register_mixer(
    "mamba2",
    examples=[
        {"state_dim": 8},
        {"state_dim": 5, "num_groups": 2, "num_heads": 2, "conv_width": 2},
        {"state_dim": 8, "init": "mimetic"},
    ],
)
class Mamba2(Mixer):
    """The Mamba-2 block: state space duality with a short convolution and a gated norm (Dao 2024, arXiv 2405.21060).

    S_t = exp(dt_t A) S_{t-1} + B_t (dt_t x_t)^T, y_t = C_t^T S_t + D x_t: A, dt and D are one number for each head.

    Our K is the paper's state size N, our V its P, our ``skip`` its D. ``in_proj`` gives gate, x, B, C and dt in
    this order, and the convolution is over x, B and C.

    Args:
        num_heads: heads H, which divide dim * expand.
        state_dim: K, 128 in the paper's models.
        expand: width inside the block over dim.
        num_groups: groups of heads that share B and C; the norm is within groups.
        conv_width: taps of the short convolution. conv_bias: its bias.
        bias: biases on the projections in and out.
        norm_eps: of the gated norm.
        init: ``usual``, or ``mimetic``: like linear attention at the start (arXiv 2410.11135).
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        state_dim: int = 64
        expand: float = 2
        num_groups: int = 1
        conv_width: int = 4
        conv_bias: bool = True
        bias: bool = False
        norm_eps: float = 1e-5
        init: str = "usual"

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its state runs along time")
            if self.norm_eps <= 0:
                raise ValueError(f"norm_eps must be positive, got {self.norm_eps}")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, got {o.init!r}")
        self.inner_dim = F = check_sizes(dim, o.num_heads, o.num_groups, o.state_dim, o.expand)
        self.num_heads, self.num_groups, self.state_dim = o.num_heads, o.num_groups, o.state_dim
        GK = o.num_groups * o.state_dim
        self.widths = (F, GK, GK)
        self.in_proj = Linear(dim, F + sum(self.widths) + o.num_heads, bias=o.bias)
        self.conv = ShortConv(sum(self.widths), o.conv_width, bias=o.conv_bias, activation="silu")
        self.dt_bias = nn.Parameter(initial_steps(o.num_heads))
        self.A_log = nn.Parameter(torch.empty(o.num_heads).uniform_(1, 16).log())
        self.skip = nn.Parameter(torch.ones(o.num_heads))
        self.norm = GatedNorm(F, o.num_groups, eps=o.norm_eps)
        self.out_proj = Linear(F, dim, bias=o.bias)
        if o.init == "mimetic":
            _, _, B_, C_, dt = self.in_proj.weight.split((F, *self.widths, o.num_heads))
            mimic_attention(self.conv, B_, C_, dt, self.dt_bias, self.A_log)

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name in ("A_log", "skip", "dt_bias")}

    def _rates(self) -> Tensor:
        return -self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)).exp()

    def _choose(self, x: Tensor, state: State, inputs: Inputs) -> tuple[SelectiveInputs, Tensor, Tensor]:
        """Return the state space's inputs, the gate, and the convolution's state."""
        gate, xbc, dt = self.in_proj(x).split((self.inner_dim, sum(self.widths), self.num_heads), -1)
        xbc, conv = self.conv(inputs.zero(xbc), state.get("conv"), inputs.mask)
        x, B_, C_ = inputs.zero(xbc).split(self.widths, -1)
        wide = torch.promote_types(dt.dtype, torch.float32)
        dt = softplus(
            inputs.zero(dt.to(wide) + self.dt_bias, -math.inf)
        ).mT  # a masked token has a step of zero
        share = self.num_heads // self.num_groups
        B_, C_ = (split_heads(t, self.num_groups).repeat_interleave(share, 1) for t in (B_, C_))
        return SelectiveInputs(split_heads(x, self.num_heads), dt, B_, C_), gate, conv

    def _finish(self, y: Tensor, x: Tensor, gate: Tensor) -> Tensor:
        y = y + self.skip[:, None, None] * x
        return self.out_proj(self.norm(merge_heads(y), gate))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.num_heads, self.state_dim, self.inner_dim // self.num_heads)
        s = torch.zeros(shape, device=device, dtype=wide)
        return {"s": s, "conv": self.conv.init_state(batch_size, device, dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        chosen, gate, conv = self._choose(x, state, inputs)
        y, s = ssd(chosen, self._rates(), state.get("s"))
        return self._finish(y, chosen.x, gate), {"s": s, "conv": conv}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        chosen, gate, _ = self._choose(x, {}, inputs)
        matrix = ssd_matrix(chosen, self._rates())
        return Mixing(matrix, chosen.x, lambda y: inputs.zero(self._finish(y, chosen.x, gate)))
