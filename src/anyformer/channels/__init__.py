"""Channel mixers (the feed-forward family): mixers that reach no other token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyformer.contract import Mixer, MixerInfo
from anyformer.parts import create_part, list_parts, part_info
from anyformer.registry import Registry, modules_in

M = TypeVar("M", bound=type[Mixer])

channels: Registry[type[Mixer]] = Registry("channel", modules_in(__name__, __path__))


def register_channel(id: str, *, examples: list[Mapping[str, Any]] | None = None) -> Callable[[M], M]:
    """Register the decorated class as the channel mixer ``id``; see :func:`anyformer.register_mixer`."""
    return channels.register(id, examples=examples)


def create_channel(name: str, dim: int, **options: Any) -> Mixer:
    """Build a channel mixer of width ``dim`` by name."""
    return create_part(channels, name, dim, options)


def channel_info(name: str, **options: Any) -> MixerInfo:
    """Return the properties and cost of the channel mixer of that name, without building it."""
    return part_info(channels, name, options)


def list_channels(**wanted: Any) -> list[str]:
    """Return the names of the channel mixers whose info has the wanted values."""
    return list_parts(channels, wanted)
