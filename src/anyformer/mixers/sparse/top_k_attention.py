"""Attention to only the keys of the highest scores in evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from anyformer.caches import Cache
from anyformer.contract import Inputs, MixerInfo
from anyformer.mixers import register_mixer
from anyformer.mixers.softmax.attention import Attention
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.select import nearest_keys
from anyformer.positions import position_info


@register_mixer(
    "top_k_attention",
    examples=[{"top": 6}, {"top": 6, "causal": False, "num_kv_heads": 2}],
)
class TopKAttention(Attention):
    """Softmax attention to the ``top`` keys of the largest inner product with the query (Mao 2024), in evaluation.

    In training all keys are seen, so that any model of ``attention`` can be converted to this mixer
    (:func:`anyformer.convert.keep_best_keys`). Keys are found by brute force; :func:`anyformer.ops.select.lift` maps
    them to vectors whose nearest neighbours they are, for search with an index.

    Args:
        top: keys that a query sees.
        num_heads, num_kv_heads, head_dim, qk_norm, bias: as for ``attention``.
        positions: a scheme that rotates queries and keys, or none.
    """

    class Options(
        Attention.Options,
        only=("num_heads", "num_kv_heads", "head_dim", "positions", "causal", "qk_norm", "bias"),
    ):
        top: int = 32

        def info(self) -> MixerInfo:
            if self.top < 1:
                raise ValueError(f"top must be at least 1, got {self.top}")
            facts = position_info(self.positions)
            if facts.scores or facts.weighs:
                raise ValueError(
                    f"positions={self.positions!r} do not go with top_k_attention: they change scores"
                )
            info = super().info()
            excuse = {"modes": "evaluation sees the keys of the highest scores, training all"}
            return dataclasses.replace(info, exceptions={**info.exceptions, **excuse})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.top = self.options.top

    def _attend(self, q: Tensor, keys: Cache, inputs: Inputs, bias: Tensor | None, **more: Any) -> Any:
        if self.training:
            return super()._attend(q, keys, inputs, bias, **more)
        slots = nearest_keys(
            q, keys["k"], self.top, causal=more.get("causal", False), visible=more.get("visible")
        )
        return gathered_attention(q, keys["k"], keys["v"], slots)
