"""Faults of the machine, as opposed to those of programs on it; its memory and cores."""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FULL = "the disk is full"
FAULTS = {
    errno.ENOSPC: FULL,
    errno.EFBIG: "a file may not grow any further (a limit of this system or of its file system)",
    errno.EIO: "the disk gave an input/output error",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "this system has too many files open",
    **{
        getattr(errno, name): words
        for name, words in {
            "EDQUOT": "the disk quota is used up",
            "ESTALE": "the file system was lost (a stale handle)",
            "ENODEV": "the device is gone",
            "ENXIO": "the device is gone",
            "ETIMEDOUT": "the file system does not answer",
            "EREMOTEIO": "the file system's server gave an input/output error",
        }.items()
        if hasattr(errno, name)
    },
}
"""Meanings of the operating system's errors, by number."""
FAULTS_OF_OURS = {
    errno.EACCES: "permission is missing",
    errno.EPERM: "permission is missing",
    errno.ENOENT: "a file or folder is gone",
    errno.ENOTDIR: "a folder is gone",
}
"""The same for errors that are faults of the machine only if they concern our own files."""
_DATABASE = (
    ("disk is full", FULL),
    ("disk i/o error", FAULTS[errno.EIO]),
    ("readonly database", "the database cannot be written to"),
    ("unable to open database file", "the database cannot be opened"),
    ("database is locked", "the database is locked by another process"),
)
_RUST = re.compile(r"\(os error (\d+)\)")  # of safetensors
_WRITER = re.compile(r"PytorchStreamWriter|inline_container")  # torch.save, whose file failed
OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|failed to allocate|unable to allocate",
    re.IGNORECASE,
)


class MachineFault(OSError):
    """A fault of the machine stopped the work; the message says what and where."""


def machine_fault(error: BaseException, ours: Path | None = None) -> str | None:
    """Return the fault of the machine that caused an error; None if it has another cause.

    Full, broken and read-only disks, quotas and exhausted file handles count, and in the folder ``ours`` also missing
    permissions and files that are gone. Causes and contexts of the error are examined too, as libraries wrap errors.
    """
    for link in _chain(error):
        if isinstance(link, MachineFault):
            return str(link)
        if isinstance(link, OSError) and link.errno is not None:
            known = {**FAULTS, **FAULTS_OF_OURS} if _is_below(link.filename, ours) else FAULTS
            if link.errno in known:
                return f"{known[link.errno]}{_at(link)}"
        text = str(link)
        code = _RUST.search(text)
        if code and int(code[1]) in FAULTS:
            return FAULTS[int(code[1])]
        if type(link).__module__.partition(".")[0] == "sqlite3":
            found = next((words for part, words in _DATABASE if part in text.lower()), None)
            if found is not None:
                return found
    if isinstance(error, RuntimeError) and _WRITER.search(str(error)):
        return "a file could not be written, as on a full or broken disk"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_below(name: object, folder: Path | None) -> bool:
    if folder is None or not isinstance(name, (str, os.PathLike)):
        return False
    return Path(os.path.abspath(name)).is_relative_to(os.path.abspath(folder))


def _at(error: OSError) -> str:
    return f", at {os.fspath(error.filename)!s}" if isinstance(error.filename, (str, os.PathLike)) else ""


def is_memory_error(error: BaseException) -> bool:
    """True if memory could not be allocated, for whatever reason."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


def takes_most_memory(error: BaseException) -> bool:
    """True if this process, with the allocation that failed, needs more than half of all memory.

    True as well if that cannot be found out.
    """
    text = str(error)
    asked = _bytes_in(r"allocate", text)
    if "CUDA" in text:
        total, own = _bytes_in(r"total capacity of", text), _bytes_in(r"this process has", text)
    else:
        total, own = total_memory(), resident_memory()
    return total is None or own is None or own + (asked or 0) > total / 2


def memory_is_short() -> bool:
    """True if less than a twentieth of this machine's memory is available."""
    total, free = total_memory(), _proc("/proc/meminfo", r"MemAvailable:\s*(\d+) kB", 1024)
    return total is not None and free is not None and free < total / 20


_SIZES = {"": 1, "b": 1, "bytes": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def _bytes_in(before: str, text: str) -> int | None:
    found = re.search(rf"{before}:?\s*(\d+(?:\.\d+)?)\s*(bytes|[kmgt]?)i?b?", text, re.IGNORECASE)
    return None if found is None else int(float(found[1]) * _SIZES[found[2].lower()])


def _proc(path: str, pattern: str, unit: int) -> int | None:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None
    return None if found is None else int(found[1]) * unit


def total_memory() -> int | None:
    """Return the memory that this process may use, in bytes: the machine's, or its control group's limit."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    limits = [
        _proc(path, r"^(\d+)$", 1)
        for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    ]
    return min([physical, *(limit for limit in limits if limit)])


def resident_memory() -> int | None:
    """Return the resident memory of this process in bytes, or its peak where only that is known."""
    held = _proc("/proc/self/status", r"VmRSS:\s*(\d+) kB", 1024)
    if held is not None or sys.platform == "win32":
        return held
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def has_bfloat16_tiles() -> bool:
    """True if the CPU multiplies matrices of bfloat16 in units of their own (AMX)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^flags\s*:.*\bamx_bf16\b", text, re.MULTILINE) is not None


def available_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the model of the processor, or its architecture where the system does not name it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1].strip() if found else platform.processor() or platform.machine()
