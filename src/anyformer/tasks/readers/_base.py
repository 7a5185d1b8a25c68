"""The interface of a reader."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from anyformer.tasks.base import Task
from anyformer.tasks.encoding import Encoding


class Reader(ABC):
    """A kind of the user's data, which becomes a task.

    A subclass is a file of this folder, called by its id, or a file of yours. Its options are the arguments of
    :meth:`open`, typed, with their meanings in the docstring; the command line reads both.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    """The kind in messages, plural: ``"tables"``."""
    rank: ClassVar[int] = 0
    """Readers of higher rank are asked first whether they take a file."""
    claims: ClassVar[tuple[str, ...]] = ()
    """Options that make it read what it takes, though a reader of higher rank takes that too."""
    files: ClassVar[tuple[str, ...]] = ()
    """Options that name further files, from the folder of the process."""
    sections: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Options that apply to a part of this kind only, by its title."""
    encodings: ClassVar[tuple[type[Encoding], ...]] = ()
    """Encodings of new data for models of this kind of data, told apart by their field ``kind``."""

    @classmethod
    def name_part(cls, kind: str, name: str) -> None:
        """Set the id at registration."""
        cls.id = name

    @classmethod
    @abstractmethod
    def takes(cls, path: Path) -> bool:
        """True if a file or folder that exists is of this kind, by its name or its first bytes."""

    @staticmethod
    @abstractmethod
    def open(path: Path, *, seed: int = 0) -> Task:
        """Return the task; further arguments are options, ``target`` after ``path`` if there is one.

        Raises:
            DataError: the data cannot be used; one sentence names the file, what is wrong and where.
        """

    @classmethod
    def absolute(cls, path: Path, file: str) -> str:
        """Return the absolute path of a further file that an option names, for data at ``path``."""
        return os.path.abspath(file)

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of its options, ``target`` included."""
        return [name for name in inspect.signature(cls.open).parameters if name not in ("path", "seed")]

    @classmethod
    def by_section(cls) -> dict[str, tuple[str, ...]]:
        """Return the options but ``target`` of the whole kind and of its parts, by title."""
        inside = {name for names in cls.sections.values() for name in names}
        whole = tuple(name for name in cls.options() if name not in {*inside, "target"})
        return {cls.title: whole, **cls.sections}
