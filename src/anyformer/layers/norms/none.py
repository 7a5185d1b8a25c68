"""No norm."""

from __future__ import annotations

from torch import nn

from anyformer.layers.norms import register_norm


@register_norm("none")
class NoNorm(nn.Identity):
    """The identity instead of a norm."""
