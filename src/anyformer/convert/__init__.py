"""A trained model into another: checkpoints of other libraries, other norms, other widths."""

from __future__ import annotations

from anyformer.convert.hf import from_hf, key_map
from anyformer.convert.norms import pre_rms_norm

__all__ = ["from_hf", "key_map", "pre_rms_norm"]
