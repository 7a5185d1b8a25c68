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
    """Register the decorated class as the token mixer ``id``.

    Args:
        examples: sets of options under which the laws are checked; by default only the default ones.
    """
    return mixers.register(id, examples=examples)


def create_mixer(name: str, dim: int, **options: Any) -> Mixer:
    """Build a token mixer of width ``dim``, an ordinary module from (B, T, dim) to the same shape.

    Raises:
        ValueError: for an unknown name (with the closest ones) or an option that the mixer does not have.
    """
    return create_part(mixers, name, dim, options)


def mixer_info(name: str, **options: Any) -> MixerInfo:
    """Return the properties and cost of the mixer of that name, without building it."""
    return part_info(mixers, name, options)


def list_mixers(**wanted: Any) -> list[str]:
    """Return the names of the token mixers whose info has these values, e.g. ``causal=True, state="constant"``."""
    return list_parts(mixers, wanted)


_CHAPTERS = (
    "softmax",
    "sparse",
    "low_rank",
    "linear",
    "state_space",
    "recurrent",
    "convolution",
    "pooling",
    "graph",
)
"""Folders in their order in the field guide; others come after them."""


class Family(NamedTuple):
    """A family of mixers: the files of a folder.

    Attributes:
        title: heading in the field guide.
        mixers: ids, the plainest first.
    """

    title: str
    mixers: tuple[str, ...]


def families() -> dict[str, Family]:
    """Return the families by short name: the chapters of the field guide, and presets of candidates.

    A folder's docstring is the title, its ``PLAINEST`` the mixer that comes first, and its ``SHORT``, by default the
    folder's name, the short name.
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
    """Return the values of ``causal`` that the mixer supports, a part of ``[True, False]``."""
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
    """Return the candidates of a preset (``linear``, ``ssm``, ..., ``all-causal``) as specs, two layers of each mixer.

    A family's preset holds its causal mixers; with the suffix ``-bidirectional``, as in ``all-bidirectional``, those
    that can see the whole sequence.

    Raises:
        ValueError: for an unknown name, with the closest ones.
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
        raise ValueError(f"preset {name!r} is empty: none of {', '.join(chosen)} supports it")
    return found
