"""Relative positions of Transformer-XL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.layers.linear import Linear
from anyformer.positions import register_position
from anyformer.positions._base import PositionInfo, Positions


@register_position("transformer_xl")
class TransformerXL(Positions):
    """Content and position terms with learned query-independent biases (Dai 2019, section 3.3).

    The score of query i and key j becomes (q_i + u) . k_j + (q_i + v) . W r(i - j), with r sinusoidal; ``score``
    returns the terms beyond q_i . k_j, with the same scale.
    """

    class Options(Positions.Options):
        def info(self) -> PositionInfo:
            return PositionInfo(scores=True)

    options: Options

    def __init__(self, dim: int, num_heads: int, head_dim: int, **options: Any) -> None:
        super().__init__(dim, num_heads, head_dim, **options)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, head_dim))
        self.position_bias = nn.Parameter(torch.zeros(num_heads, head_dim))
        self.project = Linear(dim, num_heads * head_dim, bias=False)

    def score(self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor) -> Tensor:
        left, right = self.factors(q, k, q_positions, k_positions)
        return left @ right.mT * q.shape[3] ** -0.5

    def factors(
        self, q: Tensor, k: Tensor, q_positions: Tensor, k_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        # sin and cos of a difference split into those of the two positions, so that r(i - j) is never built for
        # all pairs: (q + v) . W r(i - j) becomes a product of two (T, D) and (S, D) matrices. u . k is one column more.
        B, H, S, K = k.shape
        content = torch.einsum("hk,bhsk->bhs", self.content_bias.to(k), k)[..., None]
        channel = torch.arange(0, self.dim, 2, device=q.device, dtype=q_positions.dtype)
        rate = 10000.0 ** (-channel / self.dim)
        weight = self.project.weight.to(q).reshape(H, K, self.dim)
        query = torch.einsum("bhtk,hkd->bhtd", q + self.position_bias.to(q)[:, None], weight)
        on_sin, on_cos = query.split([len(rate), self.dim - len(rate)], -1)
        on_cos = nn.functional.pad(on_cos, (0, len(rate) - on_cos.shape[-1]))
        qa, ka = q_positions[:, None, :, None] * rate, k_positions[:, None, :, None] * rate
        q_sin, q_cos, k_sin, k_cos = (t.to(q.dtype) for t in (qa.sin(), qa.cos(), ka.sin(), ka.cos()))
        one = torch.ones_like(q[..., :1])
        left = torch.cat([on_sin * q_sin + on_cos * q_cos, on_cos * q_sin - on_sin * q_cos, one], -1)
        shared = torch.cat([k_cos, k_sin], -1).expand(B, H, S, -1)
        return left, torch.cat([shared, content], -1)
