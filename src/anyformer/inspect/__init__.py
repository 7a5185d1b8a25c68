"""Tools to look into trained models: the attention matrix that a mixer amounts to, and errors layer by layer."""

from __future__ import annotations

from anyformer.inspect.matrices import depth_error, implied_matrix, influence, mass_by_distance

__all__ = ["depth_error", "implied_matrix", "influence", "mass_by_distance"]
