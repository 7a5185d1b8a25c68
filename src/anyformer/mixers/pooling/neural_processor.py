"""Avey's neural processor: tokens mixed by a learned matrix over slots times cosine similarities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from anyformer.caches import append, key_index
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.precision import wide
from anyformer.state import State


@register_mixer("neural_processor", examples=[{"context_len": 48}, {"context_len": 48, "causal": False}])
class NeuralProcessor(Mixer):
    """Enricher, contextualiser and fuser of Avey (Hammoud 2025, section 3.2).

    u = relu(W x + b)^2 is split into z, a gate g of the same width, and channels r that bypass the mixing;
    c_i = g_i sum_{j <= i} V_ij cos(z_i, z_j) z_j; y = O [c, r].

    V is learned for each pair of slots; a token's slot is its number, so the context length is limited.

    Args:
        context_len: slots, the longest sequence.
        factor: width of u over dim.
        share: share of u that is mixed, gates included.
    """

    class Options(Mixer.Options):
        context_len: int = 256
        factor: int = 4
        share: float = 0.5

        def info(self) -> MixerInfo:
            if self.context_len < 1:
                raise ValueError(f"context_len must be at least 1, got {self.context_len}")
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost="n^2",
                memory="n^2",
                state="n" if self.causal else "none",
                max_length=self.context_len,
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        F = dim * o.factor
        C = int(F * o.share) // 2
        if C < 1 or 2 * C > F:
            raise ValueError(
                f"share must leave at least one mixed and one bypassing channel of {F}, got {o.share}"
            )
        self.causal, self.context_dim, self.hidden_dim = o.causal, C, F
        self.up = Linear(dim, F)
        self.slots = nn.Parameter(torch.randn(o.context_len, o.context_len) * o.context_len**-0.5)
        self.out = Linear(F - C, dim)

    def _enrich(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Return z and its gate, (B, T, C), and the bypassing channels, (B, T, F - 2 C)."""
        C = self.context_dim
        z, gate, passed = relu(self.up(x)).square().split([C, C, self.hidden_dim - 2 * C], -1)
        return inputs.zero(z), gate, passed

    def _matrix(self, z: Tensor, keys: Tensor, slot: Tensor, key_slot: Tensor) -> Tensor:
        """Return V_ij cos(z_i, z_j), (B, T, S), zero for slots below zero."""
        cosine = _unit(z) @ _unit(keys).mT
        most = len(self.slots) - 1  # masked tokens may have any number
        weight = self.slots[slot.clamp(0, most)[:, :, None], key_slot.clamp(0, most)[:, None]]
        seen = (key_slot >= 0)[:, None]
        if self.causal:
            seen = seen & (slot[:, :, None] >= key_slot[:, None])
        return (weight.to(cosine.dtype) * cosine).masked_fill(~seen, 0.0).to(z.dtype)

    def _finish(self, context: Tensor, gate: Tensor, passed: Tensor) -> Tensor:
        return self.out(torch.cat([context * gate, passed], -1))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        z, gate, passed = self._enrich(x, inputs)
        return self._finish(self._matrix(z, z, inputs.index, inputs.index) @ z, gate, passed)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        stored = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return {
            "k": torch.zeros(batch_size, 1, 0, self.context_dim, device=device, dtype=dtype),
            "stored": stored,
        }

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        z, gate, passed = self._enrich(x, inputs)
        both, kept = append(state, {"k": z[:, None]}, inputs)
        keys = both["k"][:, 0]
        return self._finish(
            self._matrix(z, keys, inputs.index, key_index(both, inputs)) @ keys, gate, passed
        ), kept

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        z, gate, passed = self._enrich(x, inputs)
        matrix = self._matrix(z, z, inputs.index, inputs.index)[:, None]
        return Mixing(matrix, z[:, None], lambda y: inputs.zero(self._finish(y[:, 0], gate, passed)))


def _unit(z: Tensor) -> Tensor:
    z = z.to(wide(z.dtype))
    return z * (z.square().sum(-1, keepdim=True) + 1e-8).rsqrt()
