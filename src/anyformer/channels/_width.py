"""Width of the hidden layer."""

from __future__ import annotations


def hidden_width(dim: int, hidden_dim: int | None, factor: float) -> int:
    """Return ``hidden_dim``, by default ``factor`` * dim; raise ``ValueError`` below 1."""
    F = round(dim * factor) if hidden_dim is None else hidden_dim
    if F < 1:
        raise ValueError(f"hidden_dim must be at least 1, got {F}")
    return F
