"""Fingerprints of data: enough to tell later if it is still the same, and what changed."""

from __future__ import annotations

import csv
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from anyformer.errors import DataError
from anyformer.files import file_digest
from anyformer.schema import Values
from anyformer.tasks.base import SPLITS, Task
from anyformer.user_code import code_paths

SAMPLES = 8
"""Number of samples of each split that are hashed."""
MOST_NAMES = 3


class FileFacts(BaseModel):
    """Facts of one file: size in bytes, hash, time of change (ns), and names of columns if it has any."""

    model_config = ConfigDict(extra="forbid")

    size: int
    digest: str
    modified: int
    columns: list[str] | None = None


class Fingerprint(BaseModel):
    """The fingerprint of a task's data.

    Attributes:
        files: facts by path relative to the named folder, or by name; empty if the data is generated.
        sample: the hash of some samples as the task gives them, which changes if the files are read differently.
    """

    model_config = ConfigDict(extra="forbid")

    files: dict[str, FileFacts] = Field(default_factory=dict)
    sample: str = ""

    @property
    def id(self) -> str:
        """A short hash of the content, without names and times of change."""
        content = [self.sample, *sorted(facts.digest for facts in self.files.values())]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=6).hexdigest()


def files_of(
    source: str | None, code: Iterable[str] = (), known: dict[str, FileFacts] | None = None
) -> dict[str, FileFacts]:
    """Return the hashed files of ``source``, if it is a path, and of the user's code.

    Args:
        source: a file, or a folder, of which hidden files are left out.
        code: names of parts in files (``file.py:Name``); what a file imports from its folder counts too.
        known: facts gathered earlier; a file of the same size and time of change is not read again.
    """
    from anyformer.tasks import is_path

    found = {path.as_posix(): _facts(path, (known or {}).get(path.as_posix())) for path in code_paths(code)}
    if source is None or not is_path(source):
        return found
    path = Path(source)
    if path.is_file():
        return {**found, path.name: _facts(path, (known or {}).get(path.name))}
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in inside.parts):
            found[inside.as_posix()] = _facts(file, (known or {}).get(inside.as_posix()))
    return found


def _facts(path: Path, known: FileFacts | None) -> FileFacts:
    stat = path.stat()
    if known is not None and (known.size, known.modified) == (stat.st_size, stat.st_mtime_ns):
        return known
    return FileFacts(
        size=stat.st_size, digest=file_digest(path), modified=stat.st_mtime_ns, columns=_columns(path)
    )


def sample_of_task(task: Task) -> str:
    """Return the hash of a few samples of each split, of the sizes of the splits, and of the task's own digest."""
    state = hashlib.blake2b(digest_size=16)
    sizes = {split: task.size(split) for split in SPLITS}
    state.update(json.dumps([sizes, task.train_length, list(task.lengths)]).encode())
    for split, size in sizes.items():
        index = np.unique(np.linspace(0, size - 1, min(SAMPLES, size)).astype(np.int64))
        batch = task._take(split, index, task.train_length)
        others = {
            name: value
            for name, value in vars(batch).items()
            if name not in ("inputs", "source", "side", "difference", "origin") and value is not None
        }
        arrays = {**_arrays("x", batch.inputs), **others, **_arrays("side", batch.side)}
        if batch.source is not None:
            arrays |= _arrays("source", batch.source.inputs)
            arrays |= {} if batch.source.mask is None else {"mask of the source": batch.source.mask}
        for name, value in arrays.items():
            array = np.ascontiguousarray(value.cpu().numpy())
            state.update(f"{split} {name} {array.dtype} {array.shape}".encode())
            state.update(array.tobytes())
    state.update(task.digest.encode())
    return state.hexdigest()


def _arrays(name: str, inputs: Tensor | Values) -> dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return {name: inputs}
    return {f"{name} {field}": value for field, value in inputs.items()}


def changed_files(before: dict[str, FileFacts], now: dict[str, FileFacts]) -> str:
    """Return how files differ, as the end of a sentence; empty if they do not."""
    told = [
        f"{name} {_change(before[name], now[name])}"
        for name in before
        if name in now and before[name].digest != now[name].digest
    ]
    told += [f"{name} is gone" for name in before if name not in now]
    told += [f"{name} is new" for name in now if name not in before]
    more = len(told) - MOST_NAMES
    return ", ".join(told[:MOST_NAMES]) + (f", and {more} more files" if more > 0 else "")


def _change(before: FileFacts, now: FileFacts) -> str:
    if before.size != now.size:
        text = f"has {now.size:,} bytes where it had {before.size:,}"
    else:
        text = f"has other content in the same {now.size:,} bytes"
    old, new = before.columns, now.columns
    if old is not None and new is not None and old != new:
        parts = [f"column {name!r} is gone" for name in old if name not in new][:MOST_NAMES]
        parts += [f"column {name!r} is new" for name in new if name not in old][:MOST_NAMES]
        text += f" ({', '.join(parts) or 'its columns are in another order'})"
    return text


class DataChanged(DataError):
    """Data, or code of the user's, is not what it was."""


def check_files(what: str, before: Fingerprint, now: dict[str, FileFacts]) -> None:
    """Raise DataChanged, with the differences, if the files have changed."""
    change = changed_files(before.files, now)
    if change:
        raise DataChanged(f"the data or the code of {what} changed: {change}")


def check_sample(what: str, before: Fingerprint, task: Task) -> None:
    """Raise DataChanged if the task gives other samples than before, even from the same files."""
    if before.sample and sample_of_task(task) != before.sample:
        reason = (
            "though its files are the same: they are read differently, or files that they name have changed"
            if before.files
            else "than before"
        )
        raise DataChanged(f"the data of {what} changed: it gives other samples {reason}")


def _columns(path: Path) -> list[str] | None:
    """Return the columns of a table, if they can be read quickly; None otherwise."""
    readers: dict[str, Callable[[Path], Any]] = {
        ".csv": _header,
        ".tsv": _header,
        ".jsonl": lambda p: list(json.loads(_first_line(p))),
        ".ndjson": lambda p: list(json.loads(_first_line(p))),
        ".parquet": _parquet_columns,
        ".pq": _parquet_columns,
        ".npz": lambda p: [name.removesuffix(".npy") for name in zipfile.ZipFile(p).namelist()],
    }
    reader = readers.get(path.suffix.lower())
    try:
        return None if reader is None else [str(name) for name in reader(path)]
    except Exception:  # columns only help the message
        return None


def _first_line(path: Path) -> str:
    with open(path, "rb") as file:
        return file.readline(1 << 20).decode("utf-8-sig", errors="replace").rstrip("\r\n")


def _header(path: Path) -> list[str]:
    line = _first_line(path)
    separator = max(",;\t|", key=line.count)
    return next(csv.reader([line], delimiter=separator))


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet

    names: list[str] = pyarrow.parquet.read_schema(path).names
    return names
