"""Softmax attention with attention to parameter tokens as projections."""

from __future__ import annotations

from typing import Any

from anyformer.layers.pattention import Pattention
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax.attention import Attention

PROJECTIONS = ("q", "k", "v", "out")


@register_mixer(
    "tokenformer",
    examples=[{}, {"causal": False, "num_tokens": 5, "score": "softmax"}],
)
class TokenFormerAttention(Attention):
    """Attention with queries, keys, values and output from attention to parameter tokens (Wang 2024, eq. 6-8).

    Args:
        num_tokens: parameter tokens of each of the four, by default dim.
        score, scale: see :class:`anyformer.layers.pattention.Pattention`.
        num_heads, positions: as for ``attention``.
    """

    class Options(Attention.Options, only=("num_heads", "positions", "causal")):
        num_tokens: int | None = None
        score: str = "l2_norm_gelu"
        scale: float | None = None

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        num_tokens = dim if o.num_tokens is None else o.num_tokens
        for name in PROJECTIONS:
            setattr(self, name, Pattention(dim, dim, num_tokens, score=o.score, scale=o.scale))
