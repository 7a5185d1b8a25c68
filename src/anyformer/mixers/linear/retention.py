"""Retention: linear attention with a fixed decay for each head."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.constants import register_constant
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.positions import create_position
from anyformer.precision import widen
from anyformer.state import State


@register_mixer("retention")
class Retention(Mixer):
    """Multi-scale retention (Sun 2023, eq. 5-8): S_t = gamma S_{t-1} + k_t v_t^T, y_t = q_t S_t, gated and normed.

    gamma_h = 1 - 2^(-5-h). The rotation of queries and keys is that of RoPE; the normalisations of section 2.4
    cancel in the group norm and are left out.

    Args:
        num_heads: heads H.
        value_factor: width of the values over that of the keys, 2 in the paper.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        value_factor: int = 2

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its decay runs along time")
            if self.value_factor < 1:
                raise ValueError(f"value_factor must be at least 1, got {self.value_factor}")
            return MixerInfo(reach=(None, 0), cost="n", memory="n", state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads = o.num_heads
        K = head_width(dim, o.num_heads, None)
        self.key_dim, self.value_dim = K, K * o.value_factor
        self.q = Linear(dim, dim, bias=False)
        self.k = Linear(dim, dim, bias=False)
        self.v = Linear(dim, dim * o.value_factor, bias=False)
        self.gate = Linear(dim, dim * o.value_factor, bias=False)
        self.out = Linear(dim * o.value_factor, dim, bias=False)
        self.norm = RMSNorm(self.value_dim, eps=1e-6, elementwise_affine=False)
        self.rope = create_position("rope", dim=dim, num_heads=o.num_heads, head_dim=K)
        register_constant(self, "log_decay", partial(_log_decay, o.num_heads))

    log_decay: Tensor

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k = split_heads(self.q(x), self.num_heads), split_heads(self.k(x), self.num_heads)
        q, k = self.rope.rotate(q, k, inputs.positions)
        v = split_heads(self.v(x), self.num_heads)
        decay = self.log_decay.to(torch.promote_types(x.dtype, torch.float32))
        if inputs.mask is not None:  # a masked token decays nothing; its key is zero
            decay = inputs.mask[:, None, :] * decay[:, None]
        return q, k, v, decay

    def _finish(self, y: Tensor, x: Tensor) -> Tensor:
        gate = silu(self.gate(x))
        return self.out(merge_heads(self.norm(y)).to(gate.dtype) * gate)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v, decay = self._project(x, inputs)
        y, _ = linear_attention(q, k, widen(v), log_decay=decay, scale=self.key_dim**-0.5)
        return self._finish(y, x)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        return {
            "s": torch.zeros(
                batch_size, self.num_heads, self.key_dim, self.value_dim, device=device, dtype=wide
            )
        }

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v, decay = self._project(x, inputs)
        y, s = linear_attention(q, k, widen(v), log_decay=decay, scale=self.key_dim**-0.5, initial=state["s"])
        return self._finish(y, x), {"s": s}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, _ = self._project(x, inputs)
        age = torch.arange(x.shape[1], device=x.device)
        age = (age[:, None] - age)[None]
        decay = (age * self.log_decay.to(q)[:, None, None]).exp().where(age >= 0, 0.0)
        weights = q @ k.mT * (decay * self.key_dim**-0.5)
        return Mixing(weights, v, lambda y: inputs.zero(self._finish(y, x)))


def _log_decay(num_heads: int) -> Tensor:
    """Return log(1 - 2^(-5 - h)) of each head (section 2.2), (num_heads,) float64."""
    gamma = 1 - 2.0 ** (-5 - torch.arange(num_heads, dtype=torch.float64))
    return gamma.log()
