"""Token mixers, one mechanism a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from anyformer.contract import Mixer, MixerInfo
from anyformer.parts import create_part, list_parts, part_info
from anyformer.registry import Registry, modules_in, nearest

M = TypeVar("M", bound=type[Mixer])

mixers: Registry[type[Mixer]] = Registry("mixer", modules_in(__name__, __path__))


def register_mixer(id: str, *, examples: list[Mapping[str, Any]] | None = None) -> Callable[[M], M]:
    """Class decorator: make a token mixer known as ``id``.

    Args:
        examples: sets of options under which the laws are checked; by default the defaults.
    """
    return mixers.register(id, examples=examples)


def create_mixer(name: str, dim: int, **options: Any) -> Mixer:
    """A token mixer of width ``dim``: an ordinary module, (B, T, dim) to the same shape.

    Raises:
        ValueError: for an unknown name (with the nearest ones) or an option that the mixer does not have.
    """
    return create_part(mixers, name, dim, options)


def mixer_info(name: str, **options: Any) -> MixerInfo:
    """What the mixer of that name is and costs, without building it."""
    return part_info(mixers, name, options)


def list_mixers(**wanted: Any) -> list[str]:
    """Names of the token mixers whose info has the wanted values, e.g. ``causal=True, state="constant"``."""
    return list_parts(mixers, wanted)


_CHAPTERS = ("softmax", "sparse", "low_rank", "linear", "state_space", "recurrent", "convolution", "pooling")
"""Folders in the order in which they are read; others come behind."""


class Family(NamedTuple):
    """Mixers that differ in a term or two: the files of a folder.

    Attributes:
        title: for people.
        mixers: ids, the plainest first.
    """

    title: str
    mixers: tuple[str, ...]


def families() -> dict[str, Family]:
    """The chapters of the field guide, and presets of candidates, by their short names.

    A folder's docstring is its title, its ``PLAINEST`` the mixer that comes first, and its ``SHORT`` the name, where
    that is not the folder's.
    """
    members: dict[str, list[str]] = {folder: [] for folder in _CHAPTERS}
    for id in mixers.manifest:
        members.setdefault(mixers.family(id), []).append(id)
    found = {}
    for folder, ids in members.items():
        package = import_module(f"{__name__}.{folder}")
        title = (package.__doc__ or folder).strip().rstrip(".")
        ids.sort(key=lambda id: (id != getattr(package, "PLAINEST", ""), id))
        found[getattr(package, "SHORT", folder.replace("_", "-"))] = Family(title, tuple(ids))
    return found


def forms(id: str) -> list[bool]:
    """Whether the mixer can be causal, and whether it can be bidirectional: of ``[True, False]`` those that it can."""
    found = []
    for causal in (True, False):
        try:
            info = part_info(mixers, id, {"causal": causal})
        except ValueError:
            continue
        if not info.context and info.causal == causal:
            found.append(causal)
    return found


def preset(name: str) -> dict[str, str]:
    """Candidates by name: ``linear``, ``ssm``, ... or ``all-causal``, each mixer alone in two layers, as a spec.

    A family's preset holds those of its mixers that can be causal, and with ``-bidirectional`` behind its name (as
    in ``all-bidirectional``) those that can see the whole sequence.

    Raises:
        ValueError: for a name that is no preset, with the nearest ones.
    """
    known = [f"{family}{form}" for family in families() for form in ("", "-bidirectional")]
    known += ["all-causal", "all-bidirectional"]
    if name not in known:
        raise ValueError(f"unknown preset {name!r}{nearest(name, known)}")
    causal = not name.endswith("-bidirectional")
    family = name.removesuffix("-bidirectional").removesuffix("-causal")
    chosen = [id for key, f in families().items() if family in (key, "all") for id in f.mixers]
    found = {id: f"[{id}]*2" + ("" if causal else " causal=false") for id in chosen if causal in forms(id)}
    if not found:
        raise ValueError(f"preset {name!r} is empty: none of {', '.join(chosen)} can be so")
    return found
