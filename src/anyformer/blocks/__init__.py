"""Sublayers on a residual carry, and wrappers around whole stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyformer.contract import Mixer
from anyformer.parts import check_options, register_part
from anyformer.registry import Registry

M = TypeVar("M", bound=type[Mixer])

blocks: Registry[type[Mixer]] = Registry(
    "block",
    {
        "axial_decoder": "anyformer.blocks.axial_decoder",
        "dynamic_positions": "anyformer.blocks.dynamic_positions",
        "global_context": "anyformer.blocks.global_context",
        "mixture_of_depths": "anyformer.blocks.mixture_of_depths",
        "ranker": "anyformer.blocks.ranker",
        "order": "anyformer.blocks.order",
        "remamba": "anyformer.blocks.remamba",
        "segments": "anyformer.blocks.segments",
        "two_level": "anyformer.blocks.two_level",
        "vip_compression": "anyformer.blocks.vip",
    },
)


def register_block(
    id: str, *, papers: list[str] | None = None, examples: list[Mapping[str, Any]] | None = None
) -> Callable[[M], M]:
    """Class decorator: make a wrapper known as ``id``; it is built with ``dim`` and the mixers that it wraps."""
    return register_part(blocks, id, papers, examples)


def create_block(name: str, dim: int, inner: list[Mixer], **options: Any) -> Mixer:
    """A wrapper of width ``dim`` around ``inner``, by name."""
    cls, read = check_options(blocks, name, options)
    try:
        return cls(dim, *inner, **read)
    except TypeError as error:
        raise ValueError(f"block {name!r} cannot be built around {len(inner)} stacks: {error}") from error
