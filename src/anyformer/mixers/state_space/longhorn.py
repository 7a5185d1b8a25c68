"""Longhorn: a state space whose update solves an online regression at each token."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import ShortConv
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import recomputed
from anyformer.ops.attention.tiles import TILE_ELEMENTS
from anyformer.ops.scan import scan
from anyformer.precision import no_autocast
from anyformer.state import State


def step_size(beta: Tensor, k: Tensor) -> Tensor:
    """Return beta / (1 + beta k^T k) for beta (..., F) and keys k (..., K)."""
    return beta / (1 + beta * k.square().sum(-1, keepdim=True))


def longhorn(
    x: Tensor, step: Tensor, k: Tensor, q: Tensor, initial: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run S_t = (1 - step_t k_t^2) * S_{t-1} + (step_t * x_t) k_t^T, y_t = S_t q_t, by a scan over F K columns.

    Long sequences are processed in spans, whose states are recomputed in the backward.

    Args:
        x, step: (B, T, F). k, q: (B, T, K). A token with step 0 changes nothing. initial: (B, F, K).

    Returns:
        y (B, T, F) and the state (B, F, K).
    """
    (B, T, F), K = x.shape, k.shape[-1]
    tokens = max(1, TILE_ELEMENTS // max(1, B * F * K))
    if tokens < T:
        state = x.new_zeros(B, F, K) if initial is None else initial
        outputs = []
        for stretch in zip(*(t.split(tokens, 1) for t in (x, step, k, q)), strict=True):
            y, state = recomputed(longhorn, *stretch, state)
            outputs.append(y)
        return torch.cat(outputs, 1), state
    keep = 1 - step[..., None] * k.square()[..., None, :]
    write = (step * x)[..., None] * k[..., None, :]
    states, last = scan(keep.flatten(2), write.flatten(2), None if initial is None else initial.flatten(1))
    y = torch.einsum("btfk,btk->btf", states.unflatten(2, (F, K)), q.to(states.dtype))
    return y, last.unflatten(1, (F, K))


@register_mixer("longhorn", examples=[{"state_dim": 4}, {"state_dim": 3, "conv_width": 2}])
class Longhorn(Mixer):
    """Mamba's block around an online learner (Liu 2024, arXiv 2407.14207, section 3).

    S_t trades off closeness to S_{t-1} against mapping k_t to x_t: each channel is the s that minimises
    |s - s_{t-1}|^2 + beta (s . k - x)^2, which is s_{t-1} + eps (x - s_{t-1} . k) k with eps = beta / (1 + beta |k|^2).
    Of the coupling of the K states through s . k only the diagonal is kept, so that a scan runs it:

    S_t = (1 - eps_t k_t^2) * S_{t-1} + (eps_t * x_t) k_t^T, y_t = S_t q_t + D x_t.

    The decay follows from the keys: there is no A, and 0 < 1 - eps k^2 <= 1 for all tokens.

    Args:
        state_dim: states of each channel, K.
        expand: width inside the block over dim.
        conv_width: taps of the short convolution.
        beta_rank: rank of the projection to beta, by default dim / 16, rounded up.
    """

    class Options(Mixer.Options):
        state_dim: int = 16
        expand: float = 2
        conv_width: int = 4
        beta_rank: int | None = None

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its state runs along time")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.inner_dim = F = round(dim * o.expand)
        self.state_dim = o.state_dim
        self.beta_rank = math.ceil(dim / 16) if o.beta_rank is None else o.beta_rank
        for name, value in (("state_dim", o.state_dim), ("dim * expand", F), ("beta_rank", self.beta_rank)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.in_proj = Linear(dim, 2 * F, bias=False)
        self.conv = ShortConv(F, o.conv_width, activation="silu")
        self.x_proj = Linear(F, self.beta_rank + 2 * o.state_dim, bias=False)
        self.beta_proj = Linear(self.beta_rank, F)
        self.skip = nn.Parameter(torch.ones(F))
        self.out_proj = Linear(F, dim, bias=False)

    def hints(self) -> dict[str, dict[str, Any]]:
        return {name: {"decay": False} for name in ("skip", "beta_proj.bias")}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        x, gate = self.in_proj(x).chunk(2, -1)
        x, conv = self.conv(inputs.zero(x), state.get("conv"), inputs.mask)
        x = inputs.zero(x)
        beta, k, q = self.x_proj(x).split((self.beta_rank, self.state_dim, self.state_dim), -1)
        beta = self.beta_proj(beta)
        with no_autocast(x):
            wide = torch.promote_types(x.dtype, torch.float32)
            beta, k = beta.to(wide).sigmoid(), k.to(wide)
            step = inputs.zero(step_size(beta, k))
            y, h = longhorn(x.to(wide), step, k, q, state.get("h"))
        y = y.to(x.dtype) + self.skip * x
        return self.out_proj(y * silu(gate)), {"h": h, "conv": conv}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        h = torch.zeros(batch_size, self.inner_dim, self.state_dim, device=device, dtype=wide)
        return {"h": h, "conv": self.conv.init_state(batch_size, device, dtype)}
