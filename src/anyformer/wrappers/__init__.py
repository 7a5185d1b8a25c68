"""Mixers around other mixers: routing, segments, two levels, other orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyformer.contract import Mixer, MixerInfo
from anyformer.parts import create_part, part_info
from anyformer.registry import Registry, modules_in

M = TypeVar("M", bound=type[Mixer])

wrappers: Registry[type[Mixer]] = Registry("wrapper", modules_in(__name__, __path__))


def register_wrapper(id: str, *, examples: list[Mapping[str, Any]] | None = None) -> Callable[[M], M]:
    """Class decorator: make a wrapper known as ``id``; it is built with ``dim`` and the mixers that it wraps."""
    return wrappers.register(id, examples=examples)


def create_wrapper(name: str, dim: int, inner: list[Mixer], **options: Any) -> Mixer:
    """A wrapper of width ``dim`` around ``inner``, by name."""
    return create_part(wrappers, name, dim, options, *inner)


def wrapper_info(name: str, inner: list[MixerInfo], **options: Any) -> MixerInfo:
    """What the wrapper of that name is and costs around mixers of which this is known, without building it."""
    return part_info(wrappers, name, options, *inner)


def list_wrappers() -> list[str]:
    """Names of the wrappers."""
    return wrappers.ids()
