"""Functions on registries of mixers: build, describe and list parts by name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from anyformer.contract import Mixer, MixerInfo
from anyformer.registry import Registry, nearest


def create_part(
    registry: Registry[type[Mixer]], name: str, dim: int, options: Mapping[str, Any], *inner: Mixer
) -> Mixer:
    """Build a part, around ``inner`` if it is a wrapper; raise ``ValueError`` for an unknown name or option."""
    cls = mixer_class(registry, name)
    try:
        return cls(dim, *inner, **options)
    except TypeError as error:
        why, parameters = str(error), inspect.signature(cls.__init__).parameters.values()
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters):
            why = "__init__ must take **options and hand them to super().__init__(dim, **options)"
        given = f"around {len(inner)} stacks" if inner else f"with {dict(options)}"
        raise ValueError(f"{registry.kind} {name!r} cannot be built {given}: {why}") from error


def mixer_class(registry: Registry[type[Mixer]], name: str) -> type[Mixer]:
    """Return the class of that name; raise ``ValueError`` if it is not a mixer."""
    cls = registry.get(name).target
    if not (isinstance(cls, type) and issubclass(cls, Mixer)):
        raise ValueError(f"{registry.kind} {name!r} must be a subclass of anyformer.Mixer, got {cls!r}")
    return cls


def option_names(registry: Registry[type[Mixer]], name: str) -> list[str]:
    """Return the names of a part's options."""
    return mixer_class(registry, name).Options.names()


def part_info(
    registry: Registry[type[Mixer]], name: str, options: Mapping[str, Any], *inner: MixerInfo
) -> MixerInfo:
    """Return the info of a part under the given options and the defaults of the others, without building it."""
    return mixer_class(registry, name).info_of(*inner, **options)


def list_parts(registry: Registry[type[Mixer]], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts whose info has the wanted values under the default options."""
    if not wanted:
        return registry.ids()
    for key in wanted:
        if not hasattr(MixerInfo, key) and key not in {f.name for f in dataclasses.fields(MixerInfo)}:
            raise ValueError(
                f"info has no field {key!r}{nearest(key, [f.name for f in dataclasses.fields(MixerInfo)])}"
            )
    found = []
    for id in registry.ids():
        info = part_info(registry, id, registry.get(id).examples[0])
        if all(getattr(info, key) == value for key, value in wanted.items()):
            found.append(id)
    return found
