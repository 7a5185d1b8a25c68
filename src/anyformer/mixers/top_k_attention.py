"""Attention that in evaluation reads only the keys of the highest scores."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from anyformer.caches import Cache
from anyformer.contract import Inputs, MixerInfo
from anyformer.mixers import register_mixer
from anyformer.mixers.attention import Attention
from anyformer.ops.gathered_attention import gathered_attention
from anyformer.ops.select import nearest_keys
from anyformer.positions import Scheme, position_facts


@register_mixer(
    "top_k_attention",
    papers=["iceformer"],
    examples=[{"top": 6}, {"top": 6, "causal": False, "num_kv_heads": 2}],
)
class TopKAttention(Attention):
    """Softmax attention to the ``top`` keys of the largest inner product with the query (Mao 2024), in evaluation.

    In training all keys are seen: any model of ``attention`` can be read as one of this
    (:func:`anyformer.convert.keep_best_keys`). Keys are found by all scores; that they are the nearest neighbours of
    lifted vectors, for which an index can be asked instead, is :func:`anyformer.ops.select.lift`.

    Args:
        top: keys that a query sees.
        options: those of ``attention``, with positions that turn queries and keys, or none.
    """

    def __init__(
        self,
        dim: int,
        *,
        top: int = 32,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        positions: Scheme = "rope",
        causal: bool = True,
        qk_norm: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__(
            dim,
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            positions=positions,
            causal=causal,
            qk_norm=qk_norm,
            bias=bias,
        )
        info = self.describe(top=top, positions=positions, causal=causal)
        self.info = dataclasses.replace(info, name=self.info.name, papers=self.info.papers)
        self.top = top

    @classmethod
    def describe(cls, *, top: int = 32, positions: Scheme = "rope", **options: Any) -> MixerInfo:
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        facts = position_facts(positions)
        if facts.scores or facts.weighs:
            raise ValueError(f"positions={positions!r} do not go with top_k_attention: they change scores")
        info = super().describe(positions=positions, **options)
        excuse = {"modes": "evaluation sees the keys of the highest scores, training all"}
        return dataclasses.replace(info, exceptions={**info.exceptions, **excuse})

    def _attend(self, q: Tensor, keys: Cache, inputs: Inputs, bias: Tensor | None, **more: Any) -> Any:
        if self.training:
            return super()._attend(q, keys, inputs, bias, **more)
        slots = nearest_keys(
            q, keys["k"], self.top, causal=more.get("causal", False), visible=more.get("visible")
        )
        return gathered_attention(q, keys["k"], keys["v"], slots)
