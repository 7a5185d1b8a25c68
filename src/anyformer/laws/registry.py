"""The registries of laws. Decorators fill them; the files of a folder are the only list of its laws."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anyformer.laws.case import Case
from anyformer.registry import nearest

if TYPE_CHECKING:
    from anyformer.laws.embedders.cases import EmbedderCase
    from anyformer.laws.heads.cases import HeadCase
    from anyformer.laws.models.cases import ModelCase
    from anyformer.laws.ops.cases import OpCase
    from anyformer.laws.tasks.cases import TaskCase

C = TypeVar("C")
F = TypeVar("F", bound=Callable[[Any], Any])


@dataclass(frozen=True)
class Law(Generic[C]):
    """One law over cases of type C.

    Attributes:
        id: its name.
        subject: the name of its file.
        check: raises ``LawBroken`` if a case breaks the law, and returns False if it does not apply.
    """

    id: str
    subject: str
    check: Callable[[C], bool | None]

    @property
    def words(self) -> str:
        """Statement of the law: the first paragraph of the function's docstring."""
        return " ".join((inspect.getdoc(self.check) or "").split("\n\n")[0].split())

    def __call__(self, case: C) -> bool:
        """Run the law on a case; returns False if it does not apply."""
        return self.check(case) is not False


class Laws(Mapping[str, Law[C]]):
    """The laws of one kind by name, ordered by subject, then by their order in the file.

    The modules of a package are imported when its laws are first read, so that a new law is a function in one of
    them, or in a new one.

    Args:
        package: the name of the package.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._laws: dict[str, Law[C]] = {}
        self._read = False

    def register(self, id: str) -> Callable[[F], F]:
        """Decorator: register a function of a case as a law.

        Raises:
            ValueError: if the name is taken, or the function has no docstring, which states the law.
        """

        def add(check: F) -> F:
            held = self._laws.get(id)
            if held is not None and held.check.__module__ != check.__module__:
                raise ValueError(f"law {id!r} is already registered by {held.check.__module__}")
            law = Law(id, check.__module__.rpartition(".")[2], check)
            if not law.words:
                raise ValueError(f"law {id!r} must say what it demands, in the docstring of {check.__name__}")
            self._laws[id] = law
            return check

        return add

    def read(self) -> None:
        """Import every module of the package, also those that were added since the last call."""
        self._read = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._laws = dict(sorted(self._laws.items(), key=lambda item: item[1].subject))

    def chosen(self, only: Iterable[str] | None = None) -> list[Law[C]]:
        """Return all laws, or those named in ``only``, in its order.

        Raises:
            ValueError: for an unknown law; the message has the nearest names.
        """
        names = list(self) if only is None else list(only)
        for name in names:
            if name not in self:
                raise ValueError(f"unknown law {name!r}{nearest(name, list(self))}")
        return [self[name] for name in names]

    def __getitem__(self, id: str) -> Law[C]:
        return self._known()[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def _known(self) -> dict[str, Law[C]]:
        if not self._read:
            self.read()
        return self._laws


LAWS: Laws[Case] = Laws("anyformer.laws")
"""The laws that mixers, channel mixers and models obey."""
MODEL_LAWS: Laws[ModelCase] = Laws("anyformer.laws.models")
"""The laws that whole models obey."""
OP_LAWS: Laws[OpCase] = Laws("anyformer.laws.ops")
"""The laws that ops obey."""
EMBEDDER_LAWS: Laws[EmbedderCase] = Laws("anyformer.laws.embedders")
"""The laws that embedders obey."""
HEAD_LAWS: Laws[HeadCase] = Laws("anyformer.laws.heads")
"""The laws that heads obey."""
TASK_LAWS: Laws[TaskCase] = Laws("anyformer.laws.tasks")
"""The laws that tasks obey."""

register_law = LAWS.register
register_model_law = MODEL_LAWS.register
register_op_law = OP_LAWS.register
register_embedder_law = EMBEDDER_LAWS.register
register_head_law = HEAD_LAWS.register
register_task_law = TASK_LAWS.register
