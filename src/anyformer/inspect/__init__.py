"""Looking into models: which tokens a mixer takes from where, and how far two models are apart, layer by layer."""

from __future__ import annotations

from anyformer.inspect.matrices import depth_error, implied_matrix, influence, mass_by_distance

__all__ = ["depth_error", "implied_matrix", "influence", "mass_by_distance"]
