"""No positions."""

from __future__ import annotations

from anyformer.positions import register_position
from anyformer.positions._base import Positions


@register_position("none")
class NoPositions(Positions):
    """No positions: order enters only through causality (NoPE)."""
