"""Files and folders that are written atomically, and digests that show damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEMPORARY = ".*.tmp"
"""Pattern of names of unfinished files, in their target's folder; those of killed processes may be removed."""


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces ``path`` atomically on success.

    A kill leaves the old file or the new one; an error the old one, and no temporary file. ``durable`` flushes to disk
    first, so that a loss of power leaves the old or the new file too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path, *, temporary: Path | None = None) -> Iterator[Path]:
    """Yield a folder to fill, which replaces ``path`` on success, flushed to disk.

    A kill leaves the old folder, the new one, or (for a moment) none; an error leaves the old one.

    Args:
        path: its final path.
        temporary: where it is filled, on the same file system; by default a hidden name beside ``path``.
    """
    temporary = temporary or _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_temporary(folder: Path, *, keep: str = "") -> None:
    """Remove unfinished files that killed processes left in a folder, but those of the file ``keep``."""
    for rest in folder.glob(TEMPORARY):
        if keep and rest.name.startswith(f".{keep}."):
            continue
        if rest.is_dir():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace the file at ``path`` in one step, so that a kill leaves the old content or the new."""
    with whole_file(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON from a file; None if it is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return None


def file_digests(folder: Path, *paths: Path) -> dict[str, str]:
    """Hash files, and all files in folders, by path relative to ``folder``; see :func:`file_digest`."""
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {file.relative_to(folder).as_posix(): file_digest(file) for file in found if file.is_file()}


def spoiled_files(folder: Path, digests: dict[str, str]) -> list[Path]:
    """Return the files that are missing or differ from their :func:`file_digests`."""
    paths = {folder / name: digest for name, digest in digests.items()}
    return [path for path, digest in paths.items() if not path.is_file() or file_digest(path) != digest]


def file_digest(path: Path) -> str:
    """Return the BLAKE2b hash of a file's content, 128 bits in hexadecimal; about a second for each gigabyte."""
    state = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(1 << 20))
        while count := file.readinto(buffer):
            state.update(buffer[:count])
    return state.hexdigest()
