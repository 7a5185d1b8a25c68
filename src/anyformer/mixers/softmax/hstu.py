"""Gated attention by SiLU, without a softmax."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, silu

from anyformer.caches import append, empty_cache, visibility
from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.positions import Scheme, create_position, require
from anyformer.precision import roomy, wide
from anyformer.state import State

EPSILON = 1e-6
"""Of the norm, as in the authors' code."""


class _Projected(NamedTuple):
    """Projections of a call's tokens: a gate (B, T, H K), and (B, H, T, K)."""

    u: Tensor
    v: Tensor
    q: Tensor
    k: Tensor


@register_mixer(
    "hstu",
    examples=[
        {},
        {"num_heads": 2, "head_dim": 6, "positions": "rope"},
        {"causal": False, "positions": "none"},
    ],
)
class HSTU(Mixer):
    """Attention whose weights are SiLU of the scores, under a gate (Zhai et al. 2024, arXiv 2402.17152, eq. 1-3).

    [u, v, q, k] = split(silu(W_1 x))
    a_ij = silu(q_i k_j + b_{j-i}) / n_i, over the n_i keys that query i sees
    y = W_2 (norm(a v) * u)

    Weights do not compete for a sum of one, so that their sum tells how much of something has been seen. The norm in
    front and the residual connection are those of the layer, and there is no feed-forward network (``channel=none``).
    The paper's b also depends on the time between two events, which is left out. Their code divides by the length to
    which a batch is padded; any n_i cancels in the norm, up to its epsilon.

    Args:
        num_heads: heads H.
        head_dim: width of a head of u, v, q and k, by default dim / num_heads.
        positions: scheme of b, one that scores or rotates; the authors' has one number a distance.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        head_dim: int | None = None
        positions: Scheme = "t5"

        def info(self) -> MixerInfo:
            facts = require("hstu", self.positions)
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost="n^2",
                memory="n^2",
                state="n" if self.causal else "none",
                max_length=facts.max_length,
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim, self.causal = (
            o.num_heads,
            head_width(dim, o.num_heads, o.head_dim),
            o.causal,
        )
        self.into = Linear(dim, 4 * self.num_heads * self.head_dim, bias=False)
        self.out = Linear(self.num_heads * self.head_dim, dim)
        self.positions = create_position(o.positions, dim=dim, num_heads=o.num_heads, head_dim=self.head_dim)

    def _project(self, x: Tensor, inputs: Inputs) -> _Projected:
        u, *heads = silu(self.into(x)).chunk(4, -1)
        v, q, k = (split_heads(t, self.num_heads) for t in heads)
        return _Projected(u, v, *self.positions.rotate(q, k, inputs.positions))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs, k_pos: Tensor, **sees: Any) -> Tensor:
        """Return a v (B, H, T, V); ``sees`` are arguments of attention."""
        bias = self.positions.score(q, k, inputs.numbers, k_pos) if self.positions.scores else None
        count = (inputs.index + 1 if self.causal else inputs.lengths[:, None])[:, None, :, None]
        y: Tensor = attention(*map(roomy, (q, k, v)), bias=bias, scale=1.0, normalizer="silu", **sees)
        return y / count.clamp_min(1)

    def _finish(self, y: Tensor, u: Tensor) -> Tensor:
        y = merge_heads(y)
        normed = layer_norm(y.to(wide(y.dtype)), y.shape[-1:], eps=EPSILON)
        return self.out(normed.to(u.dtype) * u)

    def _seen(self, inputs: Inputs) -> dict[str, Any]:
        if self.causal:  # masked tokens come last
            return {"causal": True}
        return {} if inputs.mask is None else {"visible": inputs.mask[:, None, None]}

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        u, v, q, k = self._project(x, inputs)
        return self._finish(self._attend(q, k, v, inputs, inputs.numbers, **self._seen(inputs)), u)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        shape = (batch_size, self.num_heads, self.head_dim)
        return empty_cache(shape, device, dtype, positions=self.positions.scores)

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        u, v, q, k = self._project(x, inputs)
        new = {"k": k, "v": v}
        if self.positions.scores:
            new["position"] = inputs.numbers[:, None, :, None]
        keys, kept = append(state, new, inputs)
        k_pos = keys["position"][:, 0, :, 0] if self.positions.scores else inputs.positions
        return self._finish(
            self._attend(q, keys["k"], keys["v"], inputs, k_pos, **visibility(keys, inputs)), u
        ), kept

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        u, v, q, k = self._project(x, inputs)
        one_hot = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(*k.shape[:3], -1)
        matrix = self._attend(q, k, one_hot, inputs, inputs.numbers, **self._seen(inputs))
        return Mixing(matrix, v, lambda y: inputs.zero(self._finish(y, u)))
