"""Sublayers on a residual carry, and wrappers around whole stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyformer.contract import Mixer
from anyformer.parts import create_part
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
    return blocks.register(id, papers=papers, examples=examples)


def create_block(name: str, dim: int, inner: list[Mixer], **options: Any) -> Mixer:
    """A wrapper of width ``dim`` around ``inner``, by name."""
    return create_part(blocks, name, dim, options, *inner)
