"""The layer norm."""

from __future__ import annotations

from torch import nn

from anyformer.layers.norms import register_norm


@register_norm("layer_norm")
class LayerNorm(nn.LayerNorm):
    """:class:`torch.nn.LayerNorm` over the last axis (Ba 2016)."""
