"""No positions."""

from __future__ import annotations

from anyformer.positions import positions
from anyformer.positions.base import Positions


@positions.register("none")
class NoPositions(Positions):
    """Order enters by nothing but what a mixer sees; enough for causal mixers (NoPE)."""
