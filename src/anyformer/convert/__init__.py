"""Conversion of trained models: from checkpoints of other libraries, to other norms, heads, experts and widths."""

from __future__ import annotations

from anyformer.convert.experts import merge_experts, split_experts
from anyformer.convert.export import export_layer
from anyformer.convert.growth import grow_heads, grow_tokens
from anyformer.convert.heads import group_heads
from anyformer.convert.hf import from_hf, key_map
from anyformer.convert.marian import from_marian
from anyformer.convert.norms import fold_norms, pre_rms_norm
from anyformer.convert.sparse import keep_best_keys, local_sparse_global

__all__ = [
    "export_layer",
    "fold_norms",
    "from_hf",
    "from_marian",
    "group_heads",
    "grow_heads",
    "grow_tokens",
    "keep_best_keys",
    "key_map",
    "local_sparse_global",
    "merge_experts",
    "pre_rms_norm",
    "split_experts",
]
