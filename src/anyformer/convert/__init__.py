"""A trained model into another: checkpoints of other libraries, other norms, other widths."""

from __future__ import annotations

from anyformer.convert.experts import merge_experts, split_experts
from anyformer.convert.growth import grow_tokens
from anyformer.convert.heads import group_heads
from anyformer.convert.hf import from_hf, key_map
from anyformer.convert.marian import from_marian
from anyformer.convert.norms import pre_rms_norm

__all__ = [
    "from_hf",
    "from_marian",
    "group_heads",
    "grow_tokens",
    "key_map",
    "merge_experts",
    "pre_rms_norm",
    "split_experts",
]
