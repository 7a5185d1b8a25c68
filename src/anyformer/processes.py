"""Processes that start with the library imported: forked from a server that has only imported it.

Importing PyTorch and this library takes seconds of processor time, too much for each worker of a short comparison. The
server is started as early as possible and imports while its parent reads the data. It has run no tensor operation and
holds no accelerator, so that forking it is safe; where that is not known, processes are spawned.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path

IMPORTED = (
    "anyformer.compare.run.executor",
    "anyformer.compare.run.worker",
    "anyformer.mixers.softmax.attention",
    "torch._dynamo",
)
"""Modules that the server imports; the last is imported by any optimiser of PyTorch."""
_loaded = time.monotonic()


def can_fork() -> bool:
    """True if processes are forked from a server: on Linux, without an accelerator.

    Not on Python 3.10, which has no ``PYTHONSAFEPATH``: files in the working directory could shadow modules.
    """
    if sys.platform != "linux" or sys.version_info < (3, 11):
        return False
    import torch

    return not torch.cuda.is_available()


def start_server() -> None:
    """Start the fork server, if :func:`can_fork` and it does not run yet; it imports in the background."""
    if not can_fork():
        return
    from multiprocessing import forkserver, resource_tracker

    multiprocessing.set_forkserver_preload(list(IMPORTED))
    resource_tracker.ensure_running()  # first, as it unblocks the signals that are blocked below
    path = os.pathsep.join(sys.path)  # the same modules as here
    with environment(PYTHONPATH=path, PYTHONSAFEPATH="1", OMP_NUM_THREADS="1"), sigint_blocked():
        forkserver.ensure_running()


def context() -> BaseContext:
    """Return the context that starts processes, which must call :func:`take_environment`."""
    start_server()
    return multiprocessing.get_context("forkserver" if can_fork() else "spawn")


def take_environment(held: Mapping[str, str]) -> None:
    """Set this process's environment to its parent's when it was started, not when the server began."""
    for name in set(os.environ) - set(held):
        del os.environ[name]
    os.environ.update(held)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in processes started meanwhile, as Ctrl-C is for their parent, which gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    waiting = list[int]()
    handler = None
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None:
        # another thread of this process, as libraries have them, may get the signal though it is blocked in this one
        handler = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        if waiting:
            signal.raise_signal(signal.SIGINT)


def began() -> float:
    """Return the start of this process on the monotonic clock; of this module's import if that is unknown."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return min(_loaded, time.monotonic() - age)
    except (OSError, ValueError, IndexError, AttributeError):
        return _loaded
