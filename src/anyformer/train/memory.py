"""Memory that freed tensors leave to the C library, for processes that only train and measure."""

from __future__ import annotations

import ctypes
import functools
import platform

import pyarrow as pa

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h
LARGEST = (1 << 30, 1 << 25)  # older versions of glibc take at most the second
NEVER = -1  # the largest size: nothing is trimmed


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def keep_freed_memory() -> bool:
    """Keep freed memory for this process's next tensors; return True if that is possible (glibc on Linux).

    By default glibc returns every large block to the system at once, and each new one is then filled with zeros
    page by page, which takes longer than many an operation on it: steps on long sequences ran up to twice as long.
    It is a choice for the whole process, so importing the library never makes it.
    """
    library = _glibc()
    if library is None:
        return False
    kept = any(library.mallopt(MMAP_THRESHOLD, size) for size in LARGEST)
    return kept and bool(library.mallopt(TRIM_THRESHOLD, NEVER))


def return_freed_memory() -> None:
    """Return unused memory to the system for other processes."""
    pa.default_memory_pool().release_unused()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
