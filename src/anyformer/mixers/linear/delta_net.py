"""DeltaNet: linear attention by the delta rule, which overwrites the value stored for a key."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, silu, softplus

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.conv import ShortConv
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.log_linear_attention import log_linear_attention
from anyformer.precision import widen
from anyformer.state import State


@register_mixer(
    "delta_net",
    examples=[
        {},
        {"conv_width": 0, "num_heads": 2},
        {"gated": True, "key_dim": 3},
        {"correct": False},
        {"num_levels": 4, "gated": True},
        {"num_levels": 12, "gated": True, "correct": False},
    ],
)
class DeltaNet(Mixer):
    """The delta rule: each token corrects the value stored for its key (Yang 2024, section 2.2 and figure 1).

    S_t = S_{t-1} + beta_t k_t (v_t - k_t^T S_{t-1})^T, y_t = q_t S_t.

    Queries, keys and values pass a short convolution and a silu; queries and keys have unit length, so that a
    beta in [0, 1] moves the value held for a key towards the new one. Each head's output is normed.

    Args:
        num_heads: heads H.
        key_dim: width K of a head's queries and keys, by default dim / H.
        conv_width: taps of the short convolutions; 0 for none.
        gated: decay the state by a factor from the token, and gate the output (Gated DeltaNet, Yang 2025).
        correct: with False the term k_t^T S_{t-1} is left out, which gives a linear attention of the same form.
        num_levels: with 1 or more the past is kept in buckets of 1, 1, 2, 4, ... tokens, each with a weight from the
            querying token (log-linear attention, Guo 2025); buckets beyond ``num_levels`` share the last weight.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        key_dim: int | None = None
        conv_width: int = 4
        gated: bool = False
        correct: bool = True
        num_levels: int = 0

        def info(self) -> MixerInfo:
            if self.num_levels < 0:
                raise ValueError(f"num_levels must be at least 0, got {self.num_levels}")
            self.needs_causal(True, "each token corrects the state before it")
            if self.num_levels:
                return MixerInfo(reach=(None, 0), cost="n log n", memory="n log n", state="log n")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.correct, self.num_levels = o.correct, o.num_levels
        self.value_dim = head_width(dim, o.num_heads, None)
        self.key_dim = head_width(dim, o.num_heads, o.key_dim, "key_dim")
        self.num_heads = o.num_heads
        self.widths = (o.num_heads * self.key_dim, o.num_heads * self.key_dim, dim)
        self.qkv = Linear(dim, sum(self.widths), bias=False)
        self.conv = None
        if o.conv_width:
            self.conv = ShortConv(sum(self.widths), o.conv_width, bias=False, activation="silu")
        self.beta = Linear(dim, o.num_heads, bias=False)
        self.norm = RMSNorm(self.value_dim, eps=1e-5)
        self.out = Linear(dim, dim, bias=False)
        self.gate = Linear(dim, dim, bias=False) if o.gated else None
        if o.gated:
            self.step = Linear(dim, o.num_heads)
            self.log_rate = nn.Parameter(torch.empty(o.num_heads).uniform_(1, 16).log())
            with torch.no_grad():  # steps from 0.001 to 0.1, as in Mamba
                step = torch.empty(o.num_heads).uniform_(-6.9, -2.3).exp()
                self.step.bias.copy_(step.expm1().log())

        if o.num_levels:
            self.levels = Linear(dim, o.num_heads * o.num_levels)
            with torch.no_grad():  # weights of one, at which it equals its base
                self.levels.bias.fill_(math.log(math.e - 1))

    def hints(self) -> dict[str, dict[str, Any]]:
        return {} if self.gate is None else {"log_rate": {"decay": False}}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        new = dict(state)
        qkv = self.qkv(x)
        if self.conv is None:
            qkv = silu(qkv)
        else:
            qkv, new["conv"] = self.conv(qkv, state.get("conv"), inputs.mask)
        q, k, v = (split_heads(p, self.num_heads) for p in inputs.zero(qkv).split(self.widths, -1))
        # the norm is taken in float32 at least: in bfloat16 it is off by a percent
        wide = torch.promote_types(q.dtype, torch.float32)
        q, k = (normalize(p.to(wide), dim=-1, eps=1e-6) for p in (q, k))
        beta = self.beta(x).sigmoid().mT
        decay = None
        if self.gate is not None:
            decay = inputs.zero(-self.log_rate.exp() * softplus(self.step(x))).mT
        y, new["s"] = self._read(x, q, k, widen(v), beta, decay, state.get("s"), inputs)
        y = merge_heads(self.norm(y).to(x.dtype))
        return self.out(y if self.gate is None else y * silu(self.gate(x))), new

    def _read(
        self,
        x: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor,
        decay: Tensor | None,
        past: Tensor | None,
        inputs: Inputs,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output of the op, and the state after it if a state was given."""
        if self.num_levels:
            weights = softplus(self.levels(x)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            k, b = (k, beta) if self.correct else (beta[..., None] * k, None)
            if past is None:
                return log_linear_attention(q, k, v, weights, beta=b, log_decay=decay, final=False)
            start, lengths = (inputs.index[:, 0], inputs.lengths) if x.shape[1] else (None, None)
            return log_linear_attention(
                q, k, v, weights, beta=b, log_decay=decay, start=start, lengths=lengths, initial=past
            )
        if self.correct:
            return delta_rule(q, k, v, beta, log_decay=decay, initial=past)
        return linear_attention(q, beta[..., None] * k, v, log_decay=decay, initial=past)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._stream(x, {}, inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        slots = (0,) if self.num_levels else ()
        shape = (batch_size, self.num_heads, *slots, self.key_dim, self.value_dim)
        state = {"s": torch.zeros(shape, device=device, dtype=wide)}
        if self.conv is not None:
            state["conv"] = self.conv.init_state(batch_size, device, dtype)
        return state
