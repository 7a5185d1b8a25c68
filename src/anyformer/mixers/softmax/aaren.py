"""Aaren: attention as a recurrent network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.ops.softmax_scan import SoftmaxState, softmax_scan
from anyformer.state import State


@register_mixer("aaren")
class Aaren(Mixer):
    """Softmax attention of a learned query over every prefix (Feng 2024, section 3.3), as a scan.

    y_t = sum_{s<=t} exp(q k_s) v_s / sum_{s<=t} exp(q k_s), with one query per head, the same at all tokens
    (the paper's learned query token after its projection). The state is both sums and the largest exponent.

    Args:
        num_heads: heads H.
    """

    class Options(Mixer.Options):
        num_heads: int = 4

        def info(self) -> MixerInfo:
            self.needs_causal(True, "it averages over prefixes")
            return MixerInfo(reach=(None, 0), cost="n", memory="n", state="constant")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, None)
        self.query = nn.Parameter(torch.randn(o.num_heads, self.head_dim))
        self.kv = Linear(dim, 2 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return scores (B, H, T), -inf where masked, and values (B, H, T, V)."""
        k, v = (split_heads(t, self.num_heads) for t in self.kv(x).chunk(2, -1))
        scores = torch.einsum("bhtk,hk->bth", k, self.query * self.head_dim**-0.5)
        return inputs.zero(scores, -torch.inf).transpose(1, 2), v

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y, _ = softmax_scan(*self._project(x, inputs))
        return self.out(merge_heads(y))

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        zeros = torch.zeros(batch_size, self.num_heads, self.head_dim, device=device, dtype=wide)
        return {
            "top": torch.full_like(zeros[..., :1], -torch.inf),
            "sum": zeros,
            "weight": zeros[..., :1].clone(),
        }

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        initial = SoftmaxState(state["top"], state["sum"], state["weight"])
        y, (top, total, weight) = softmax_scan(*self._project(x, inputs), initial=initial)
        return self.out(merge_heads(y)), {"top": top, "sum": total, "weight": weight}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        scores, v = self._project(x, inputs)
        B, H, T = scores.shape
        query, one_hot = (
            v.new_zeros(B, H, T, 1),
            torch.eye(T, device=x.device, dtype=x.dtype).expand(B, H, T, T),
        )
        matrix = attention(query, query, one_hot, causal=True, bias=scores[:, :, None])
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
