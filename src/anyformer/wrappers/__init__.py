"""Mixers around other mixers: routing, segments, two levels, other orders."""

from __future__ import annotations

from typing import Any

from anyformer.contract import Mixer, MixerInfo
from anyformer.parts import create_part, part_info
from anyformer.registry import Registry, modules_in

wrappers: Registry[type[Mixer]] = Registry("wrapper", modules_in(__name__, __path__))
register_wrapper, list_wrappers = wrappers.register, wrappers.ids


def create_wrapper(name: str, dim: int, inner: list[Mixer], **options: Any) -> Mixer:
    """Build a wrapper of width ``dim`` around ``inner``, by name."""
    return create_part(wrappers, name, dim, options, *inner)


def wrapper_info(name: str, inner: list[MixerInfo], **options: Any) -> MixerInfo:
    """Return the properties and cost of the wrapper of that name around mixers with these infos."""
    return part_info(wrappers, name, options, *inner)
