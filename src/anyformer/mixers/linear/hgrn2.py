"""HGRN2: a gated recurrent network with a matrix state."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, silu

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.layers.norms.rms_norm import RMSNorm
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.precision import widen
from anyformer.state import State


@register_mixer("hgrn2", examples=[{}, {"num_heads": 2, "lower_bound": 0.5}])
class Hgrn2(Mixer):
    """Gated linear attention whose key is one minus its decay (HGRN2, arXiv 2404.07904, eq. 6).

    S_t = diag(f_t) S_{t-1} + (1 - f_t) i_t^T, y_t = q_t S_t, normed over all heads.
    f_t = b + (1 - b) sigmoid(W_f x_t), q_t = silu(W_q x_t), i_t = W_i x_t.

    Args:
        num_heads: heads H; the state has dim^2 / H numbers. With H = dim it is HGRN's, a vector.
        lower_bound: initial value of the learned least decay b of each channel; 0 for none. The paper's bounds grow
            with depth: layer l of L starts at l / L.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        lower_bound: float = 0.0

        def info(self) -> MixerInfo:
            self.needs_causal(True, "its decay runs along time")
            return MixerInfo(reach=(None, 0), state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if not 0 <= o.lower_bound < 1:
            raise ValueError(f"lower_bound must be at least 0 and below 1, got {o.lower_bound}")
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, None)
        self.q = Linear(dim, dim, bias=False)
        self.f = Linear(dim, dim, bias=False)
        self.i = Linear(dim, dim, bias=False)
        self.norm = RMSNorm(dim)
        self.out = Linear(dim, dim, bias=False)
        logit = math.log(o.lower_bound / (1 - o.lower_bound)) if o.lower_bound else 0.0
        self.bound = nn.Parameter(torch.full((dim,), logit)) if o.lower_bound else None

    def hints(self) -> dict[str, dict[str, Any]]:
        return {} if self.bound is None else {"bound": {"decay": False}}

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q, k = 1 - f, i and log f, (B, H, T, K)."""
        z = self.f(x)
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        log_f, k = logsigmoid(z), torch.sigmoid(-z)
        if self.bound is not None:
            bound = self.bound.to(z.dtype)
            log_f = torch.logaddexp(logsigmoid(bound), logsigmoid(-bound) + log_f)
            k = torch.sigmoid(-bound) * k
        parts = (silu(self.q(x)), inputs.zero(k), self.i(x), inputs.zero(log_f))
        q, k, v, d = (split_heads(p, self.num_heads) for p in parts)
        return q, k, v, d

    def _finish(self, y: Tensor) -> Tensor:
        return self.out(self.norm(merge_heads(y)).to(self.out.weight.dtype))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v, d = self._project(x, inputs)
        return self._finish(linear_attention(q, k, widen(v), log_decay=d)[0])

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.num_heads, self.head_dim, self.head_dim)
        return {"s": torch.zeros(shape, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v, d = self._project(x, inputs)
        y, s = linear_attention(q, k, widen(v), log_decay=d, initial=state["s"])
        return self._finish(y), {"s": s}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, d = self._project(x, inputs)
        one_hot = torch.eye(x.shape[1], device=x.device, dtype=x.dtype).expand(*v.shape[:3], -1)
        matrix, _ = linear_attention(q, k, one_hot, log_decay=d)
        return Mixing(matrix, v, lambda y: inputs.zero(self._finish(y)))
