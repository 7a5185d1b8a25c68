"""Every sequence architecture as a part with one interface."""

from __future__ import annotations

from anyformer.channels import channel_info, create_channel, list_channels, register_channel
from anyformer.contract import Call, Context, Mixer, MixerInfo, Mixing, SideInput
from anyformer.mixers import create_mixer, list_mixers, mixer_info, register_mixer

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
    "list_channels",
    "list_mixers",
    "mixer_info",
    "register_channel",
    "register_mixer",
]
