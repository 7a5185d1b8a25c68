"""Registries, one for each kind of part: the only list for laws, docs, benchmarks and ``compare``."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from anyformer import user_code

T = TypeVar("T")
C = TypeVar("C")


def near(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'retention'?"``, ignoring case, or an empty text if no known name is close."""
    folded: dict[str, str] = {}
    for one in sorted(known):
        folded.setdefault(one.casefold(), one)
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    return "; did you mean " + " or ".join(repr(folded[one]) for one in close) + "?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the close names, as :func:`near`, or all known names if none is close."""
    names = sorted(known)
    return near(name, names) or "; known: " + ", ".join(names)


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered part."""

    id: str
    target: T
    summary: str
    examples: tuple[Mapping[str, Any], ...]
    """Sets of options under which the laws are checked; the first is the default form."""


class Registry(Generic[T]):
    """The parts of one kind by id, each imported on first use.

    Args:
        kind: the word for messages, e.g. ``"mixer"``.
        manifest: the module that registers each id, from :func:`modules_in`. Listing needs only this.
    """

    def __init__(self, kind: str, manifest: Mapping[str, str]) -> None:
        self.kind = kind
        self.manifest = dict(manifest)
        self._entries: dict[str, Entry[T]] = {}
        self._third_parties: dict[str, Any] | None = None

    def register(self, id: str, *, examples: list[Mapping[str, Any]] | None = None) -> Callable[[C], C]:
        """Register the decorated part as ``id``; raise ``ValueError`` if another part has this id.

        A part of a user's file takes the place of the same one of a copy or an earlier text of that file.
        """

        def add(target: C) -> C:
            held = self._entries.get(id)
            if held is not None and _origin(held.target) != _origin(target):
                raise ValueError(f"{self.kind} {id!r} is already registered by {_origin(held.target)}")
            summary = (getattr(target, "__doc__", None) or "").strip().splitlines()
            if hasattr(target, "name_part"):
                target.name_part(self.kind, id)
            self._entries[id] = Entry(
                id,
                cast(T, target),
                summary[0] if summary else "",
                tuple(examples or ({},)),
            )
            return target

        return add

    def get(self, id: str) -> Entry[T]:
        """Return the entry of ``id``; raise ``ValueError`` with the closest names if there is none.

        ``"path/to/file.py:Name"`` is the object of that name in the file.
        """
        if not isinstance(id, str):
            raise ValueError(f"{self.kind} must be named by a string, got {type(id).__name__}")
        if user_code.MARK in id:
            return self._from_file(id)
        if id not in self._entries and id in self.manifest:
            importlib.import_module(self.manifest[id])
        if id not in self._entries and id in self._entry_points():
            self._entry_points()[id].load()
        if id not in self._entries:
            raise ValueError(f"unknown {self.kind} {id!r}{nearest(id, self.ids())}")
        return self._entries[id]

    def family(self, id: str) -> str:
        """Return the folder of the file that registers ``id``; empty for a part of another distribution."""
        return self.manifest[id].split(".")[-2] if id in self.manifest else ""

    def ids(self) -> list[str]:
        """Return all ids, sorted, without importing the parts."""
        return sorted({*self.manifest, *self._entries, *self._entry_points()})

    def __contains__(self, id: object) -> bool:
        return id in self.manifest or id in self._entries or id in self._entry_points()

    def __iter__(self) -> Iterator[Entry[T]]:
        return (self.get(id) for id in self.ids())

    def _entry_points(self) -> dict[str, Any]:
        if self._third_parties is None:
            group = entry_points(group=f"anyformer.{self.kind.replace(' ', '_')}s")
            self._third_parties = {point.name: point for point in group}
        return self._third_parties

    def _from_file(self, id: str) -> Entry[T]:
        file, _, name = id.rpartition(":")
        try:
            module = user_code.load_file(file)
        except ValueError as error:
            raise ValueError(f"{self.kind} {id!r}: {error}") from None
        if not hasattr(module, name):
            public = [n for n in vars(module) if not n.startswith("_")]
            raise ValueError(f"{self.kind} {id!r}: {file} has no {name!r}{nearest(name, public)}")
        target = getattr(module, name)
        for entry in self._entries.values():
            if entry.target is target:
                return entry
        return Entry(id, target, (target.__doc__ or "").strip().split("\n")[0], ({},))


def modules_in(package: str, path: Iterable[str]) -> dict[str, str]:
    """Return the module that registers each id in a package: the file's name is the id, its folder the family.

    Nothing is imported. Files that begin with an underscore register nothing.

    Args:
        package: its name.
        path: its ``__path__``.

    Raises:
        ValueError: if two files have the same name.
    """
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(path):
        if module.name.startswith("_"):
            continue
        name = f"{package}.{module.name}"
        inside = [os.path.join(folder, module.name) for folder in path]
        for id, where in (modules_in(name, inside) if module.ispkg else {module.name: name}).items():
            if id in found:
                raise ValueError(f"{id!r} is both {found[id]} and {where}")
            found[id] = where
    return found


def registered_in(package: str, folder: Path, decorator: str) -> dict[str, str]:
    """Return the module that registers each id in a package whose files register several ids each.

    Nothing is imported: the ids are read from lines such as ``@register_model("mamba")``, by the decorator's name.

    Raises:
        ValueError: if an id is registered twice.
    """
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.py")):
        for id in re.findall(rf"^@{decorator}\(\s*\"(\w+)\"", file.read_text(encoding="utf-8"), re.MULTILINE):
            where = f"{package}.{file.stem}"
            if id in found:
                raise ValueError(f"{id!r} is both in {found[id]} and in {where}")
            found[id] = where
    return found


def _origin(target: object) -> str:
    module = user_code.module_name(getattr(target, "__module__", "?"))
    return f"{module}.{getattr(target, '__qualname__', target)}"
