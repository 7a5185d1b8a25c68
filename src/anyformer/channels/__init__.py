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
    """Class decorator: make a channel mixer known as ``id``; see :func:`anyformer.register_mixer`."""
    return channels.register(id, examples=examples)


def create_channel(name: str, dim: int, **options: Any) -> Mixer:
    """A channel mixer of width ``dim`` by name."""
    return create_part(channels, name, dim, options)


def channel_info(name: str, **options: Any) -> MixerInfo:
    """What the channel mixer of that name is and costs, without building it."""
    return part_info(channels, name, options)


def list_channels(**wanted: Any) -> list[str]:
    """Names of the channel mixers whose info has the wanted values."""
    return list_parts(channels, wanted)
