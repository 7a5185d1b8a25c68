"""No positions."""

from __future__ import annotations

from anyformer.positions import register_position
from anyformer.positions._base import Positions


@register_position("none")
class NoPositions(Positions):
    """Order enters by nothing but what a mixer sees; enough for causal mixers (NoPE)."""
