"""Hydra: a bidirectional state space, as one quasiseparable matrix over the tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing, take_tokens
from anyformer.layers.heads import merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.mixers.linear.mamba2 import (
    GatedNorm,
    SelectiveInputs,
    check_sizes,
    initial_steps,
    ssd,
    ssd_matrix,
)
from anyformer.ops.short_conv import short_conv
from anyformer.precision import widen


def reverse(x: Tensor, inputs: Inputs) -> Tensor:
    """Reverse each sample's real tokens in x (B, T, ...); masked tokens stay last."""
    T = x.shape[1]
    place = inputs.lengths[:, None] - 1 - torch.arange(T, device=x.device)
    return inputs.zero(take_tokens(x, place.clamp_min(0)))


@register_mixer(
    "hydra",
    examples=[
        {"state_dim": 8, "causal": False},
        {"state_dim": 5, "num_groups": 2, "num_heads": 2, "conv_width": 3, "causal": False},
        {"state_dim": 4, "shift": False, "causal": False},
    ],
)
class Hydra(Mixer):
    """A forward and a backward state space and a diagonal: a quasiseparable matrix (Hwang 2024, section 3).

    y = shift(SS(x)) + flip(shift(SS(flip(x)))) + (D + W x) x.

    SS is Mamba-2's, with separate dt, B and C per direction and one A for both; shift moves by one token, so that the
    diagonal, which both directions would count, is free. Our K is the paper's N, our ``skip`` its D.

    Args:
        num_heads: heads H, which divide dim * expand.
        state_dim: K.
        expand: width inside the block over dim.
        num_groups: groups of heads that share B and C.
        conv_width: taps of the short convolution, centred and so odd.
        bias: biases on the projections in and out.
        shift: with False both directions are added unshifted, so that both contribute to the diagonal beside D (the
            paper's bidirectional variant Add, table 2).
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        state_dim: int = 64
        expand: float = 2
        num_groups: int = 1
        conv_width: int = 7
        bias: bool = False
        shift: bool = True

        def info(self) -> MixerInfo:
            self.needs_causal(False, "it is bidirectional; its causal half is mamba2")
            return MixerInfo(reach=(None, None))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.conv_width < 1 or o.conv_width % 2 == 0:
            raise ValueError(f"conv_width must be odd, got {o.conv_width}")
        self.inner_dim = F = check_sizes(dim, o.num_heads, o.num_groups, o.state_dim, o.expand)
        self.num_heads, self.num_groups, self.shift = o.num_heads, o.num_groups, o.shift
        self.widths = (F, *[o.num_groups * o.state_dim] * 4)
        self.in_proj = Linear(dim, F + sum(self.widths) + 2 * o.num_heads, bias=o.bias)
        bound = o.conv_width**-0.5
        self.taps = nn.Parameter(torch.empty(sum(self.widths), o.conv_width).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(sum(self.widths)).uniform_(-bound, bound))
        self.dt_bias = nn.Parameter(initial_steps(o.num_heads))
        self.A_log = nn.Parameter(torch.zeros(o.num_heads))
        self.skip = nn.Parameter(torch.ones(o.num_heads))
        self.skip_proj = Linear(F, o.num_heads, bias=False) if o.shift else None
        self.norm = GatedNorm(F, before=True)
        self.out_proj = Linear(F, dim, bias=o.bias)

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name in ("A_log", "skip", "dt_bias", "conv_bias")}

    def _convolved(self, x: Tensor, inputs: Inputs) -> Tensor:
        """The short convolution with its window centred."""
        half = self.taps.shape[1] // 2
        y = short_conv(pad(inputs.zero(x), (0, 0, 0, half)), self.taps, self.conv_bias, activation="silu")
        return inputs.zero(y[:, half:])

    def _choose(self, x: Tensor, inputs: Inputs) -> tuple[SelectiveInputs, SelectiveInputs, Tensor, Tensor]:
        """Return the inputs of the forward and the reversed state space, the diagonal (B, H, T, 1), the gate."""
        gate, xbc, dt = self.in_proj(x).split((self.inner_dim, sum(self.widths), 2 * self.num_heads), -1)
        x, *bc = self._convolved(xbc, inputs).split(self.widths, -1)
        diagonal = (
            self.skip.expand(*x.shape[:2], -1) if self.skip_proj is None else self.skip_proj(x) + self.skip
        )
        wide = torch.promote_types(dt.dtype, torch.float32)
        ways = []
        for way, (step, B_, C_) in enumerate(zip(dt.chunk(2, -1), bc[::2], bc[1::2], strict=True)):
            step = softplus(inputs.zero(step.to(wide) + self.dt_bias, -math.inf))
            parts = (x, step, B_, C_)
            v, step, B_, C_ = (reverse(t, inputs) for t in parts) if way else parts
            share = self.num_heads // self.num_groups
            B_, C_ = (split_heads(t, self.num_groups).repeat_interleave(share, 1) for t in (B_, C_))
            ways.append(SelectiveInputs(split_heads(v, self.num_heads), step.mT, B_, C_))
        return ways[0], ways[1], diagonal.mT[..., None], gate

    def _later(self, x: Tensor) -> Tensor:
        """Move x (B, H, T, V) one token later."""
        return pad(x, (0, 0, 1, 0))[:, :, : x.shape[2]] if self.shift else x

    def _rates(self) -> Tensor:
        return -self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)).exp()

    def _finish(self, y: Tensor, gate: Tensor) -> Tensor:
        return self.out_proj(self.norm(merge_heads(y), gate))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        ahead, back, diagonal, gate = self._choose(x, inputs)
        y, z = (self._later(ssd(way, self._rates())[0]) for way in (ahead, back))
        z = reverse(z.transpose(1, 2), inputs).transpose(1, 2)
        return self._finish(y + z + widen(diagonal) * ahead.x, gate)

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        ahead, back, diagonal, gate = self._choose(x, inputs)
        lower, upper = (self._later(ssd_matrix(way, self._rates())) for way in (ahead, back))
        for _ in range(2):  # rows, then columns
            upper = reverse(upper.transpose(1, 2), inputs).transpose(1, 2).mT
        matrix = lower + upper + torch.diag_embed(diagonal[..., 0])
        return Mixing(matrix, ahead.x, lambda y: inputs.zero(self._finish(y, gate)))
