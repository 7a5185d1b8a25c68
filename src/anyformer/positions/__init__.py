"""Position schemes: added to the input, rotating queries and keys, or as terms on scores and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyformer.positions._base import PositionInfo, Positions
from anyformer.positions._sets import set_prompt
from anyformer.registry import Registry, modules_in

positions: Registry[type[Positions]] = Registry("position", modules_in(__name__, __path__))
register_position, list_positions = positions.register, positions.ids

Scheme = str | Mapping[str, Any]
"""A position scheme: its name, or a mapping with ``name`` and its options."""


def create_position(
    name: Scheme | None, *, dim: int, num_heads: int, head_dim: int, **options: Any
) -> Positions:
    """Build the position scheme of that name for a mixer of width ``dim`` with heads of ``head_dim``."""
    name, given = _named(name)
    return positions.get(name).target(dim, num_heads, head_dim, **{**given, **options})


def position_info(scheme: Scheme) -> PositionInfo:
    """Return the properties of a scheme, without building it."""
    name, options = _named(scheme)
    return positions.get(name).target.Options.read(options).info()


def require(mixer: str, scheme: Scheme, *hooks: str) -> PositionInfo:
    """Return the properties of a scheme whose hooks the mixer supports: rotation, scores, and ``hooks``.

    Raises:
        ValueError: for a scheme that needs another hook.
    """
    facts = position_info(scheme)
    name = _named(scheme)[0]
    if facts.adds:
        raise ValueError(
            f"positions={name!r} are added to a model's input: give them to the model, not to {mixer}"
        )
    for hook in ("infuses", "weighs", "numbers"):
        if getattr(facts, hook) and hook not in hooks:
            raise ValueError(
                f"positions={name!r} do not go with {mixer}: it does not support a scheme that {hook}"
            )
    return facts


def _named(scheme: Scheme | None) -> tuple[str, dict[str, Any]]:
    if scheme is None:
        return "none", {}
    if isinstance(scheme, str):
        return scheme, {}
    options = dict(scheme)
    options = {**options.pop("options", {}), **options}  # as nested in specs
    for other in ("tag", "inner"):
        options.pop(other, None)
    return options.pop("name"), options


__all__ = [
    "PositionInfo",
    "Positions",
    "Scheme",
    "create_position",
    "list_positions",
    "position_info",
    "positions",
    "register_position",
    "require",
    "set_prompt",
]
