"""How order enters: added to the input, rotating queries and keys, or as terms on the scores."""

from __future__ import annotations

import inspect
from typing import Any

from anyformer.positions.base import Positions
from anyformer.registry import Registry

positions: Registry[type[Positions]] = Registry(
    "position",
    {
        "alibi": "anyformer.positions.alibi",
        "learned": "anyformer.positions.absolute",
        "none": "anyformer.positions.none",
        "rope": "anyformer.positions.rope",
        "sinusoidal": "anyformer.positions.absolute",
        "transformer_xl": "anyformer.positions.transformer_xl",
    },
)


def create_position(name: str, *, dim: int, num_heads: int, head_dim: int, **options: Any) -> Positions:
    """The position scheme of that name for a mixer of width ``dim`` with heads of ``head_dim``."""
    cls = positions.get(name).target
    try:
        inspect.signature(cls).bind(dim, num_heads, head_dim, **options)
    except TypeError as error:
        raise ValueError(f"position {name!r}: {error}") from None
    return cls(dim, num_heads, head_dim, **options)
