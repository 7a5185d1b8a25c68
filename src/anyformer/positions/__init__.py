"""How order enters: added to the input, rotating queries and keys, or as terms on scores and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyformer.positions.base import Facts, Positions
from anyformer.registry import Registry

positions: Registry[type[Positions]] = Registry(
    "position",
    {
        "alibi": "anyformer.positions.alibi",
        "axial": "anyformer.positions.absolute",
        "complex": "anyformer.positions.complex",
        "fire": "anyformer.positions.bias",
        "kerple": "anyformer.positions.bias",
        "learnable_fourier": "anyformer.positions.fourier",
        "learned": "anyformer.positions.absolute",
        "none": "anyformer.positions.none",
        "position_infused": "anyformer.positions.absolute",
        "randomized": "anyformer.positions.wrappers",
        "relative": "anyformer.positions.relative",
        "reverse": "anyformer.positions.wrappers",
        "rope": "anyformer.positions.rope",
        "shaw": "anyformer.positions.relative",
        "sinusoidal": "anyformer.positions.absolute",
        "t5": "anyformer.positions.bias",
        "transformer_xl": "anyformer.positions.transformer_xl",
        "urpe": "anyformer.positions.wrappers",
    },
)

Scheme = str | Mapping[str, Any]
"""A position scheme: its name, or a mapping with ``name`` and its options."""


def create_position(
    name: Scheme | None, *, dim: int, num_heads: int, head_dim: int, **options: Any
) -> Positions:
    """The position scheme of that name for a mixer of width ``dim`` with heads of ``head_dim``."""
    name, given = _named(name)
    return positions.get(name).target(dim, num_heads, head_dim, **{**given, **options})


def position_facts(scheme: Scheme) -> Facts:
    """What a scheme does, without building it."""
    name, options = _named(scheme)
    return positions.get(name).target.Options.read(options).facts()


def require(mixer: str, scheme: Scheme, *hooks: str) -> Facts:
    """The facts of a scheme that rotates or scores, or uses other ``hooks`` that the mixer has.

    Raises:
        ValueError: for a scheme that does what the mixer cannot.
    """
    facts = position_facts(scheme)
    name = _named(scheme)[0]
    if facts.adds:
        raise ValueError(
            f"positions={name!r} are added to a model's input: give them to the model, not to {mixer}"
        )
    for hook in ("infuses", "weighs", "numbers"):
        if getattr(facts, hook) and hook not in hooks:
            raise ValueError(
                f"positions={name!r} do not go with {mixer}: it has no place where the scheme {hook}"
            )
    return facts


def _named(scheme: Scheme | None) -> tuple[str, dict[str, Any]]:
    if scheme is None:
        return "none", {}
    if isinstance(scheme, str):
        return scheme, {}
    options = dict(scheme)
    options = {**options.pop("options", {}), **options}  # as specs nest them
    for other in ("tag", "inner"):
        options.pop(other, None)
    return options.pop("name"), options
