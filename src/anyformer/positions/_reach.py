"""The clipping distance of relative schemes."""

from __future__ import annotations


def check_reach(name: str, reach: int) -> int:
    """Return ``reach``; raise ``ValueError`` below 1."""
    if reach < 1:
        raise ValueError(f"reach must be at least 1 for {name}, got {reach}")
    return reach
