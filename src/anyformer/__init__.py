"""Every sequence architecture as a part with one interface."""

from __future__ import annotations

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
    if name == "load":
        from anyformer.train import load_bundle as found
    elif name == "create_model":
        from anyformer.models import create_model as found
    else:
        raise AttributeError(f"module 'anyformer' has no attribute {name!r}")
    globals()[name] = found
    return found
