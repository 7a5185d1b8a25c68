"""The link between papers and parts of the library: cards state it, and this is its index."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping

from anyformer_papers.catalogue import catalogue


def papers_with(part: str) -> tuple[str, ...]:
    """Return the slugs of the papers whose cards name a part, such as ``"mixer retention"``, in order of their ids."""
    return _index().get(part, ())


@functools.cache
def _index() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for paper in catalogue():
        if paper.has_card:
            for part in paper.card().facts.parts:
                found[part] = (*found.get(part, ()), paper.slug)
    return found


def missing_parts(parts: tuple[str, ...]) -> list[str]:
    """Return those of ``parts`` that the library does not have."""
    return [part for part in parts if not part_exists(part)]


def part_exists(part: str) -> bool:
    """Return True if the library has a part that a card names.

    Raises:
        ValueError: if it begins with no known kind of part.
    """
    if ":" in part:
        module, _, attribute = part.partition(":")
        try:
            return hasattr(importlib.import_module(f"anyformer.{module}"), attribute)
        except ImportError:
            return False
    kind, _, name = part.partition(" ")
    return name in _names(kind)


def _names(kind: str) -> list[str]:
    from anyformer import channels, mixers, models, positions, stack, tasks, wrappers
    from anyformer.layers import activations, norms
    from anyformer.ops import load_all

    kinds: dict[str, Callable[[], list[str]]] = {
        "mixer": mixers.mixers.ids,
        "channel": channels.channels.ids,
        "wrapper": wrappers.wrappers.ids,
        "residual": stack.residuals.ids,
        "norm": norms.norms.ids,
        "activation": activations.activations.ids,
        "model": models.models.ids,
        "position": positions.positions.ids,
        "task": tasks.tasks.ids,
        "op": lambda: list(load_all()),
    }
    if kind not in kinds:
        raise ValueError(f"a part is named by one of {', '.join(kinds)}, or module:attribute; got {kind!r}")
    return kinds[kind]()
