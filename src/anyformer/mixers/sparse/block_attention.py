"""Attention within blocks, and to global tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.caches import Cache
from anyformer.contract import Inputs
from anyformer.mixers import register_mixer
from anyformer.mixers.sparse._patterned import Branch, PatternedAttention
from anyformer.ops.masks import Blocks, Causal, Global, MaskSpec


@register_mixer(
    "block_attention",
    examples=[
        {"block": 4},
        {"block": 6, "stagger": True, "positions": "alibi"},
        {"block": 4, "num_global": 3, "causal": False},
        {"block": 6, "num_global": 2, "stagger": True, "causal": False, "positions": "none"},
    ],
)
class BlockAttention(PatternedAttention):
    """Attention of a token to its block and the global tokens, in one softmax (Phang 2022, sections 3.2 and 3.3).

    The first ``num_global`` tokens (:class:`anyformer.models.ModelSpec`'s ``prefix``) see all and are seen by all;
    blocks are counted from the first token after them. As PEGASUS-X normalises them separately, they have their own
    scale and shift before the projections.

    Args:
        num_heads: heads H.
        block: tokens of a block.
        stagger: shift the borders by half a block; used in every other layer, it connects the blocks.
        num_global: global tokens; only with ``causal=False``.
        positions: a position scheme by name, or a dict with ``name`` and its options.
        bias: biases on the projections.
    """

    class Options(PatternedAttention.Options):
        block: int = 16
        stagger: bool = False
        num_global: int = 0

        def branches(self) -> list[Branch]:
            block, num_global = self.block, self.num_global
            if block < 1 or (self.stagger and block % 2):
                raise ValueError(f"block must be positive, and even with stagger=True, got {block}")
            if num_global < 0 or (self.causal and num_global):
                raise ValueError(
                    f"num_global must be 0 with causal=True, and never negative, got {num_global}"
                )
            half = block // 2 if self.stagger else 0
            spec: MaskSpec = Blocks(block, (half - num_global) % block)
            if self.causal:
                spec = spec & Causal()
            return [[(slice(None), spec | Global(limit=num_global) if num_global else spec)]]

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.num_global = self.options.num_global
        if self.num_global:
            self.global_scale = nn.Parameter(torch.ones(dim))
            self.global_shift = nn.Parameter(torch.zeros(dim))

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Cache]:
        if self.num_global:
            is_global = (inputs.index < self.num_global)[..., None]
            x = torch.where(is_global, x * self.global_scale + self.global_shift, x)
        return super()._project(x, inputs)
