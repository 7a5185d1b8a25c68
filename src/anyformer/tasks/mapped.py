"""Tasks with their large arrays in files, which worker processes map into memory instead of reading the data again."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyformer.tasks.base import Task

LARGE = 1 << 16
"""Bytes from which an array is a file of its own."""
LEAST = 64 << 20
"""Bytes of such arrays from which a task is kept in files; a smaller one is read again faster than it is worth."""


@dataclass(frozen=True)
class MappedTask:
    """A task without its large arrays, which are the files ``0.npy``, ``1.npy``, ... of a folder."""

    folder: Path
    pickled: bytes

    def open(self) -> Task:
        """Return the task; its large arrays are read from disk where they are used, and cannot be written."""
        task: Task = _Reader(self).load()
        return task


@contextmanager
def mapped(tasks: Mapping[str, Task], folder: Path) -> Iterator[dict[str, MappedTask]]:
    """Write the large arrays of tasks into ``folder``, and remove it at the end.

    Tasks with fewer than ``LEAST`` bytes of them are left out, and those that cannot be pickled. Processes that have
    opened one must have ended before the end: a file that is mapped cannot be removed on all systems.

    Raises:
        OSError: the disk is full or broken.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a comparison that was killed
    found = dict[str, MappedTask]()
    try:
        for name, task in tasks.items():
            made = _written(task, folder / str(len(found)))
            if made is not None:
                found[name] = made
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(task: Task, folder: Path) -> MappedTask | None:
    writer = _Writer(folder)
    try:
        writer.dump(task)
    except (
        pickle.PicklingError,
        TypeError,
        AttributeError,
    ):  # what pickle raises for objects that it cannot write
        writer.bytes = 0
    if writer.bytes < LEAST:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return MappedTask(folder, writer.text.getvalue())


class _Writer(pickle.Pickler):
    """Pickler that writes large arrays into files, each once."""

    def __init__(self, folder: Path) -> None:
        self.text = io.BytesIO()
        super().__init__(self.text, pickle.HIGHEST_PROTOCOL)
        self.folder, self.bytes = folder, 0
        self._held: dict[
            int, tuple[int, np.ndarray]
        ] = {}  # by identity; they live on, so that none is reused

    def persistent_id(self, held: object) -> int | None:
        if type(held) is not np.ndarray or held.dtype.hasobject or held.nbytes < LARGE:
            return None
        if id(held) not in self._held:
            number = len(self._held)
            self._held[id(held)] = number, held
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(self.folder / f"{number}.npy", held, allow_pickle=False)
            self.bytes += held.nbytes
        return self._held[id(held)][0]


class _Reader(pickle.Unpickler):
    def __init__(self, task: MappedTask) -> None:
        super().__init__(io.BytesIO(task.pickled))
        self.folder = task.folder

    def persistent_load(self, number: int) -> np.ndarray:
        found: np.ndarray = np.load(self.folder / f"{number}.npy", mmap_mode="r").view(np.ndarray)
        return found
