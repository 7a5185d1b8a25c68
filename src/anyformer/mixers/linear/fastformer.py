"""Fastformer: additive attention through one global query and one global key."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer


@register_mixer("fastformer", examples=[{}, {"num_heads": 2, "share_value": False}])
class Fastformer(Mixer):
    """Additive attention (Wu 2021, eq. 3-8): y_i = W (k * v_i) + q_i, * elementwise.

    q = sum_i softmax_i(w_q q_i / sqrt(K)) q_i is the global query, p_i = q * k_i, and
    k = sum_i softmax_i(w_k p_i / sqrt(K)) p_i the global key, for each head; W spans all heads.

    Args:
        num_heads: heads H.
        share_value: let v_i be q_i, as in the paper's experiments.
        causal: must be False: global query and key span the whole sequence.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        share_value: bool = True
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "its query and key are pooled over the whole sequence")
            return MixerInfo(reach=(None, None))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.head_dim = o.num_heads, head_width(dim, o.num_heads, None)
        self.q = Linear(dim, dim, bias=False)
        self.k = Linear(dim, dim, bias=False)
        self.v = None if o.share_value else Linear(dim, dim, bias=False)
        self.query_score = Linear(dim, o.num_heads, bias=False)
        self.key_score = Linear(dim, o.num_heads, bias=False)
        self.transform = Linear(dim, dim)

    def _pool(self, x: Tensor, score: Linear, inputs: Inputs) -> Tensor:
        """Return the average of x over time, each head by its own weights, (B, 1, D)."""
        scores = score(x) * self.head_dim**-0.5
        scores = inputs.zero(scores, torch.finfo(scores.dtype).min)
        weights = scores.softmax(1).mT[..., None]  # (B, H, T, 1)
        return merge_heads((weights * split_heads(x, self.num_heads)).sum(2, keepdim=True))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if x.shape[1] == 0:
            return x
        q, k = self.q(x), self.k(x)
        v = q if self.v is None else self.v(x)
        p = self._pool(q, self.query_score, inputs) * k
        return self.transform(self._pool(p, self.key_score, inputs) * v) + q
