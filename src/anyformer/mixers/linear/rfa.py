"""Random feature attention: the softmax kernel by random Fourier features, with a gate at sentence starts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, pad

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing, SideInput
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.state import State

LEAST = 1e-2
"""Lower bound on the sum of weights, whose estimate can be negative."""


@register_mixer(
    "rfa",
    examples=[{}, {"causal": False}, {"num_features": 8, "num_heads": 2, "sentence_gate": True}],
)
class RandomFeatureAttention(Mixer):
    """y_t = phi(q_t) S_t / phi(q_t) z_t, phi(x) = [sin w_i x, cos w_i x] / sqrt(D), of q and k of unit length.

    S_t = g_t S_{t-1} + phi(k_t) v_t^T, and z_t alike without v (Peng 2021, eq. 4-6; Wu 2022, eq. 5 for the gate).
    With w_i drawn from N(0, sigma^2), phi(q) . phi(k) estimates exp(-sigma^2 |q - k|^2 / 2), a softmax weight.

    The side input ``sentence_start`` (B, T) bool marks the first tokens of sentences: g_t = sigmoid(u x_t + b) there
    and 1 elsewhere, so that the state decays between sentences only.

    Args:
        num_heads: heads H.
        num_features: draws w_i of each head, D; by default the width of a head. The state has 2 D rows.
        sentence_gate: decay the state at sentence starts. Causal only.
        seed: of the draws, which are saved with the weights; sigma is learned for each channel.
    """

    draws: Tensor

    class Options(Mixer.Options):
        num_heads: int = 4
        num_features: int | None = None
        sentence_gate: bool = False
        seed: int = 0

        def info(self) -> MixerInfo:
            if self.sentence_gate and not self.causal:
                raise ValueError("sentence_gate must be False with causal=False: the gate needs an order")
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                state="constant" if self.causal else "none",
                side={"sentence_start": SideInput()} if self.sentence_gate else {},
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim, self.causal = o.num_heads, head_width(dim, o.num_heads, None), o.causal
        self.num_features = self.head_dim if o.num_features is None else o.num_features
        if self.num_features < 1:
            raise ValueError(f"num_features must be at least 1, got {o.num_features}")
        self.q = Linear(dim, dim, bias=False)
        self.k = Linear(dim, dim, bias=False)
        self.v = Linear(dim, dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.log_sigma = nn.Parameter(torch.zeros(o.num_heads, 1, self.head_dim))
        generator = torch.Generator().manual_seed(o.seed)
        draws = torch.randn(o.num_heads, self.num_features, self.head_dim, generator=generator)
        self.register_buffer("draws", draws)
        self.gate = Linear(dim, o.num_heads) if o.sentence_gate else None

    def hints(self) -> dict[str, dict[str, Any]]:
        return {"log_sigma": {"decay": False}}

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        if self.gate is None:
            return {}
        return {"sentence_start": torch.rand(batch_size, length, generator=generator) < 0.3}

    def features(self, x: Tensor) -> Tensor:
        """Return phi of x (B, H, T, K): (B, H, T, 2 D)."""
        x = normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1, eps=1e-6)
        turns = x @ (self.draws * self.log_sigma.exp()).to(x.dtype).mT
        return torch.cat((turns.sin(), turns.cos()), -1) * self.num_features**-0.5

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        q, k = self.features(q), self.features(k)
        if inputs.mask is not None:  # the cosine of a masked token is 1
            k = k * inputs.mask[:, None, :, None]
        return q, k, v, self._log_gate(x, inputs)

    def _log_gate(self, x: Tensor, inputs: Inputs) -> Tensor | None:
        """Return the log gate, (B, H, T), zero except at sentence starts."""
        start = inputs.call.side.get("sentence_start")
        if self.gate is None or start is None:
            return None
        if start.dtype != torch.bool:
            raise ValueError(f"sentence_start must be bool, got {start.dtype}")
        if inputs.mask is not None:
            start = start & inputs.mask
        return torch.where(start[..., None], logsigmoid(self.gate(x)), 0.0).mT

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, initial: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        counted = pad(v.to(q.dtype), (0, 1), value=1.0)
        y, s = linear_attention(q, k, counted, log_decay=d, initial=initial, causal=self.causal)
        return y[..., :-1] / y[..., -1:].clamp_min(LEAST), s

    def _finish(self, y: Tensor) -> Tensor:
        return self.out(merge_heads(y).to(self.out.weight.dtype))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._finish(self._attend(*self._project(x, inputs))[0])

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.num_heads, 2 * self.num_features, self.head_dim + 1)
        return {"s": torch.zeros(shape, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, s = self._attend(*self._project(x, inputs), state["s"])
        return self._finish(y), {"s": s}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, d = self._project(x, inputs)
        one_hot = torch.eye(x.shape[1], device=x.device, dtype=q.dtype).expand(*v.shape[:3], -1)
        matrix, _ = self._attend(q, k, one_hot, d)
        return Mixing(matrix, v.to(q.dtype), lambda y: inputs.zero(self._finish(y)))
