"""Worker processes that do not run the user's script again.

A process started by :mod:`multiprocessing` imports the script of its parent, so that a script without
``if __name__ == "__main__":`` would start a comparison in each worker. Workers are therefore started without it. It is
imported only if it defines a class of an object that they receive; a comparison that begins during this import is
refused.
"""

from __future__ import annotations

import io
import os
import pickle
import runpy
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from anyformer.processes import context, sigint_blocked, take_environment
from anyformer.user_code import files_running

_starting = threading.Lock()
_importing: list[str] = []


@dataclass(frozen=True)
class Packed:
    """A pickled object for a worker, with the path of the script ``__main__`` if the object needs it."""

    pickled: bytes
    script: str | None = None
    module: str | None = None
    """Name of the script if it was started as a module (``python -m``)."""

    @classmethod
    def of(cls, thing: object) -> Packed:
        """Pickle an object.

        Raises:
            ValueError: if it cannot be pickled.
        """
        try:
            pickled = pickle.dumps(thing)
        except Exception as error:
            raise ValueError(
                f"task cannot be sent to the worker processes ({' '.join(str(error).split())}): define its class at "
                "the top of a module, and keep lambdas and open files out of its attributes"
            ) from error
        if b"__main__" not in pickled or not _MainFinder(io.BytesIO(pickled)).meets_main():
            return cls(pickled)
        main = sys.modules["__main__"]
        return cls(pickled, getattr(main, "__file__", None), getattr(main.__spec__, "name", None))

    def unpack(self) -> Any:
        """Return the object, after importing the script if the object needs it.

        Raises:
            ValueError: if the script cannot be imported, or starts a comparison when it is.
        """
        if self.script is not None:
            _import_script(self.script, self.module)
        return pickle.loads(self.pickled)


class _MainFinder(pickle.Unpickler):
    """Unpickler that finds out whether a pickle refers to anything in ``__main__``."""

    met = False

    def meets_main(self) -> bool:
        self.load()
        return self.met

    def find_class(self, module: str, name: str) -> Any:
        self.met |= module == "__main__"
        return super().find_class(module, name)


def _import_script(path: str, name: str | None) -> None:
    """Import the script as the ``__main__`` of this process; inside it, ``__name__`` is ``"__mp_main__"``."""
    _importing.append(path)
    try:
        if name is not None:
            found = runpy.run_module(name, run_name="__mp_main__", alter_sys=True)
        else:
            found = runpy.run_path(path, run_name="__mp_main__")
    except ValueError:
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{Path(path).name} defines what the worker processes need, and importing it there failed "
            f"({type(error).__name__}: {error}): {_guard(path)}"
        ) from error
    finally:
        _importing.remove(path)
    module = ModuleType("__mp_main__")
    module.__dict__.update(found)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def _guard(path: str) -> str:
    return (
        f"put what {Path(path).name} does under these lines\n\n"
        '    if __name__ == "__main__":\n'
        "        compare(...)\n"
    )


def refuse_while_importing() -> None:
    """Check that no script or file of mixers is being imported by a comparison, which would start another one.

    Raises:
        ValueError: if one is.
    """
    for path in (*_importing, *files_running()):
        raise ValueError(
            f"{Path(path).name} calls compare() whenever it is imported, and it has to be imported for what it "
            f"defines: {_guard(path)}"
        )


def start(target: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
    """Start a process that runs ``target(*arguments)`` without importing this process's script."""
    given = (dict(os.environ), target, arguments)
    process: BaseProcess = context().Process(target=_begin, args=given, daemon=True)  # type: ignore[attr-defined]
    with _starting, sigint_blocked():
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # without a file, multiprocessing imports nothing
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
    return process


def _begin(held: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    take_environment(held)
    target(*arguments)
