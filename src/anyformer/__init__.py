"""Every sequence architecture as a part with one interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anyformer.channels import channel_info, create_channel, list_channels, register_channel
from anyformer.contract import Call, Context, Mixer, MixerInfo, Mixing, SideInput
from anyformer.mixers import create_mixer, list_mixers, mixer_info, register_mixer

if TYPE_CHECKING:
    from anyformer.models import create_model
    from anyformer.train import load_bundle as load

__version__ = "0.1.0"

__all__ = [
    "Call",
    "Context",
    "Mixer",
    "MixerInfo",
    "Mixing",
    "SideInput",
    "channel_info",
    "create_channel",
    "create_mixer",
    "create_model",
    "list_channels",
    "list_mixers",
    "load",
    "mixer_info",
    "register_channel",
    "register_mixer",
]


def __getattr__(name: str) -> Any:
    """Import what takes long when it is first used: ``load`` and ``create_model``."""
    places = {
        "load": ("anyformer.train", "load_bundle"),
        "create_model": ("anyformer.models", "create_model"),
    }
    if name not in places:
        raise AttributeError(f"module 'anyformer' has no attribute {name!r}")
    module, own = places[name]
    globals()[name] = getattr(import_module(module), own)
    return globals()[name]
