"""A trained model into another: checkpoints of other libraries."""

from __future__ import annotations

from anyformer.convert.hf import from_hf, key_map

__all__ = ["from_hf", "key_map"]
