"""Attention to parameter tokens instead of linear maps; the number of tokens may grow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from anyformer.registry import nearest

SCORES = ("l2_norm_gelu", "gelu_l2_norm", "softmax")


class Pattention(nn.Module):
    """f(x K^T) V with n learned key and value tokens (Wang 2024, eq. 4 and 5).

    Args:
        in_features, out_features: widths of keys and values.
        num_tokens: parameter tokens n.
        score: f, over the n tokens: ``l2_norm_gelu`` is gelu(tau a / |a|), ``gelu_l2_norm`` tau gelu(a) / |gelu(a)|,
            ``softmax`` tau^2 softmax(a).
        scale: tau, by default sqrt(n). A layer that has grown keeps its initial tau, so that its output does not
            change.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_tokens: int,
        *,
        score: str = "l2_norm_gelu",
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if num_tokens < 1:
            raise ValueError(f"num_tokens must be at least 1, got {num_tokens}")
        if score not in SCORES:
            raise ValueError(f"unknown score {score!r}{nearest(score, list(SCORES))}")
        self.score, self.scale = score, num_tokens**0.5 if scale is None else scale
        self.keys = nn.Parameter(torch.randn(num_tokens, in_features) * in_features**-0.5)
        self.values = nn.Parameter(torch.randn(num_tokens, out_features) * num_tokens**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (..., out_features) of x (..., in_features)."""
        a = x @ self.keys.to(x.dtype).mT
        if self.score == "l2_norm_gelu":
            weights = gelu(self.scale * normalize(a, dim=-1))
        elif self.score == "gelu_l2_norm":
            weights = self.scale * normalize(gelu(a), dim=-1)
        else:
            weights = self.scale**2 * a.softmax(-1)
        return weights.to(x.dtype) @ self.values.to(x.dtype)
