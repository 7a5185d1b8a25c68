"""Power law graph attention: scores through a metric computed from the queries."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, leaky_relu, linear, relu

from anyformer.caches import append, empty_cache, visibility
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.precision import no_autocast, roomy, wide
from anyformer.state import State


class Energy(NamedTuple):
    """Metric and energy-curvature tensors of each head, all (..., H, K, K)."""

    metric: Tensor  # M of this sequence, positive
    potential: Tensor  # M^P, entries to learned powers
    curvature: Tensor  # G, the energy-curvature tensor


class ResidualUnit(nn.Module):
    """A residual unit on the rows of matrices: norm(A + W_2 relu(W_1 A)), shared by the heads."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = Linear(width, hidden), Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, A: Tensor) -> Tensor:
        """Return the unit's output for A (..., K, K), in float32 at least whatever the dtype of the weights."""
        weights = (
            self.up.weight,
            self.up.bias,
            self.down.weight,
            self.down.bias,
            self.norm.weight,
            self.norm.bias,
        )
        w1, b1, w2, b2, w3, b3 = (w.to(A.dtype) for w in weights)
        return layer_norm(A + linear(relu(linear(A, w1, b1)), w2, b2), A.shape[-1:], w3, b3, 1e-6)


@register_mixer("power_law_attention", examples=[{}, {"causal": False, "num_units": 2}])
class PowerLawAttention(Mixer):
    """Attention with scores q_i G k_j / sqrt(K), G computed from the sequence's queries (Gokden 2021, section 3).

    Per head, A = Q^T Q over the tokens, followed by residual units on its rows; M = relu(W A + b) + floor is the
    metric; G = a M^P + c with elementwise powers; p_ij = softmax_j(leaky_relu(q_i G k_j / sqrt(K))).

    The paper sums Q^T Q over all tokens, in its decoder too, where this leaks later ones. With ``causal=True`` the sum
    runs up to the query's token, so that each token has its own G; that of the last token is the paper's.

    Args:
        num_heads: heads H.
        num_units: residual units.
        hidden_dim: their hidden width, by default dim.
        floor: the least entry of a metric, so that its powers exist. The released code has 1e-9, whose power -1/2 is
            30000: gradients in float32 overflow.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_units: int = 1
        hidden_dim: int | None = None
        floor: float = 1e-3

        def info(self) -> MixerInfo:
            state = "n" if self.causal else "none"
            return MixerInfo(reach=(None, 0 if self.causal else None), cost="n^2", memory="n^2", state=state)

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        K, hidden = head_width(dim, o.num_heads, None), dim if o.hidden_dim is None else o.hidden_dim
        if o.num_units < 0 or hidden < 1:
            raise ValueError(
                f"num_units must be at least 0 and hidden_dim 1, got {o.num_units} and {o.hidden_dim}"
            )
        if not 0 < o.floor < 1:
            raise ValueError(f"floor must be between 0 and 1, got {o.floor}")
        self.num_heads, self.head_dim, self.causal, self.floor = o.num_heads, K, o.causal, o.floor
        self.q, self.k, self.v, self.out = (Linear(dim, dim) for _ in range(4))
        self.units = nn.ModuleList(ResidualUnit(K, hidden) for _ in range(o.num_units))
        spread = (o.num_heads * K) ** -0.5
        self.weight, self.power, self.coupling = (
            nn.Parameter(torch.randn(o.num_heads, K, K) * spread) for _ in range(3)
        )
        self.weight_bias, self.coupling_bias = (
            nn.Parameter(torch.zeros(o.num_heads, K, K)) for _ in range(2)
        )

    def energy(self, density: Tensor) -> Energy:
        """Return the tensors that follow from a density Q^T Q (..., H, K, K), in float32 at least."""
        A = density
        for unit in self.units:
            A = unit(A)
        names = ("weight", "weight_bias", "power", "coupling", "coupling_bias")
        W, b, P, a, c = (getattr(self, name).to(A.dtype) for name in names)
        metric = relu(W @ A + b) + self.floor
        potential = metric**P
        return Energy(metric, potential, a @ potential + c)

    def deduce(self, x: Tensor, mask: Tensor | None = None) -> Energy:
        """Return the tensors (B, H, K, K) of whole sequences x (B, T, D), real where mask (B, T) is True."""
        q = split_heads(self.q(x), self.num_heads)
        if mask is not None:
            q = q * mask[:, None, :, None]
        return self.energy(q.mT @ q)

    def _project(
        self, x: Tensor, past: Tensor | None, inputs: Inputs
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q G, k, v (B, H, T, K) and the density up to the last token, (B, H, K, K)."""
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        with no_autocast(x):
            real = inputs.zero(q.transpose(1, 2)).to(wide(q.dtype))  # (B, T, H, K)
            if self.causal:
                density = (real[..., None] * real[..., None, :]).cumsum(1)
                density = density if past is None else density + past[:, None]
                last = density[:, -1]
                turned = (real[..., None, :] @ self.energy(density).curvature).squeeze(-2).transpose(1, 2)
            else:
                real = real.transpose(1, 2)
                last = real.mT @ real
                turned = real @ self.energy(last).curvature
        return turned.to(roomy(q).dtype), k, v, last

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, **sees: Any) -> Tensor:
        y: Tensor = attention(q, roomy(k), roomy(v), score=lambda s: leaky_relu(s, 0.2), **sees)
        return y.to(v.dtype)

    def _sees(self, inputs: Inputs) -> dict[str, Any]:
        if self.causal:  # masked tokens come last
            return {"causal": True}
        return {} if inputs.mask is None else {"visible": inputs.mask[:, None, None]}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if x.shape[1] == 0:
            return x
        q, k, v, _ = self._project(x, None, inputs)
        return self.out(merge_heads(self._attend(q, k, v, **self._sees(inputs))))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        H, K = self.num_heads, self.head_dim
        density = torch.zeros(batch_size, H, K, K, device=device, dtype=wide(dtype))
        return {"cache": empty_cache((batch_size, H, K), device, dtype), "density": density}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        q, k, v, density = self._project(x, state["density"], inputs)
        both, kept = append(state["cache"], {"k": k, "v": v}, inputs)
        y = self._attend(q, both["k"], both["v"], **visibility(both, inputs))
        return self.out(merge_heads(y)), {"cache": kept, "density": density}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, _ = self._project(x, None, inputs)
        one_hot = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(*k.shape[:3], -1)
        matrix = self._attend(q, k, one_hot, **self._sees(inputs))
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
