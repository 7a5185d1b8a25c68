"""What all registries of mixers share: registering, describing and building a part by name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyformer.contract import Mixer, MixerInfo
from anyformer.options import read_options
from anyformer.registry import Registry, nearest

M = TypeVar("M", bound=type[Mixer])


def register_part(
    registry: Registry[type[Mixer]],
    id: str,
    papers: list[str] | None,
    examples: list[Mapping[str, Any]] | None,
) -> Callable[[M], M]:
    """Decorator: register a mixer class, and let its ``info`` carry the id and the papers."""

    def add(cls: M) -> M:
        cls.registry_id = id
        cls.registry_papers = tuple(papers or ())
        registry.register(id, papers=papers, examples=examples)(cls)
        return cls

    return add


def option_names(cls: type[Mixer]) -> set[str]:
    """The options of a mixer's constructor, ``dim`` left out."""
    return {p for p in inspect.signature(cls.__init__).parameters if p not in ("self", "dim")}


def check_options(
    registry: Registry[type[Mixer]], name: str, options: Mapping[str, Any]
) -> tuple[type[Mixer], dict[str, Any]]:
    """The class of that name, and the options read by the types that its constructor says.

    Raises:
        ValueError: for an option that it does not have, or a value of another type.
    """
    cls = registry.get(name).target
    if not (isinstance(cls, type) and issubclass(cls, Mixer)):
        raise ValueError(f"{registry.kind} {name!r} must be a subclass of anyformer.Mixer, got {cls!r}")
    known = option_names(cls)
    for option in options:
        if option not in known:
            raise ValueError(
                f"{registry.kind} {name!r} has no option {option!r}{nearest(option, sorted(known))}"
            )
    return cls, read_options(cls, options, f"{registry.kind} {name!r}")


def create_part(registry: Registry[type[Mixer]], name: str, dim: int, options: Mapping[str, Any]) -> Mixer:
    """Build a part; ``ValueError`` for an unknown name or option."""
    cls, read = check_options(registry, name, options)
    try:
        return cls(dim, **read)
    except TypeError as error:
        raise ValueError(f"{registry.kind} {name!r} cannot be built with {dict(options)}: {error}") from error


def describe_part(registry: Registry[type[Mixer]], name: str, options: Mapping[str, Any]) -> MixerInfo:
    """The info of a part that is not built, under the options given and the defaults of the others."""
    cls, read = check_options(registry, name, options)
    parameters = inspect.signature(cls.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    info = cls.describe(**{**defaults, **read})
    return dataclasses.replace(info, name=cls.registry_id or cls.__name__, papers=cls.registry_papers)


def list_parts(registry: Registry[type[Mixer]], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the parts whose info, as built by default, has the wanted values."""
    if not wanted:
        return registry.ids()
    for key in wanted:
        if not hasattr(MixerInfo, key) and key not in {f.name for f in dataclasses.fields(MixerInfo)}:
            raise ValueError(
                f"info has no field {key!r}{nearest(key, [f.name for f in dataclasses.fields(MixerInfo)])}"
            )
    found = []
    for id in registry.ids():
        info = describe_part(registry, id, registry.get(id).examples[0])
        if all(getattr(info, key) == value for key, value in wanted.items()):
            found.append(id)
    return found
