"""Processes that begin with the library imported: forked from a server that has nothing but imported it.

Importing PyTorch and this library takes seconds of processor time, more than a short comparison can give each of its
workers. The server is started as early as possible and imports while its parent reads the data. It has run no tensor
operation and holds no accelerator, so that forking it is sound; where that cannot be known, processes are spawned.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
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
"""What the server imports; the last is what any optimiser of PyTorch asks for."""
_loaded = time.monotonic()


def can_fork() -> bool:
    """Whether processes come from a fork server here: on Linux, without an accelerator.

    Python 3.10 has no ``PYTHONSAFEPATH``: there, files that lie where the user works could pass for modules.
    """
    if sys.platform != "linux" or sys.version_info < (3, 11):
        return False
    import torch

    return not torch.cuda.is_available()


def start_server() -> None:
    """Starts the fork server where there is to be one and it does not run; it imports while this process goes on."""
    if not can_fork():
        return
    from multiprocessing import forkserver, resource_tracker

    multiprocessing.set_forkserver_preload(list(IMPORTED))
    resource_tracker.ensure_running()  # it makes signals heard again that are blocked below
    path = os.pathsep.join(sys.path)  # the same modules as here
    with environment(PYTHONPATH=path, PYTHONSAFEPATH="1", OMP_NUM_THREADS="1"), deaf():
        forkserver.ensure_running()


def context() -> BaseContext:
    """How processes are started; they take the environment of their parent, see :func:`take_environment`."""
    start_server()
    return multiprocessing.get_context("forkserver" if can_fork() else "spawn")


def take_environment(held: Mapping[str, str]) -> None:
    """Makes the environment of this process what its parent's was when it started it, and not when the server began."""
    for name in set(os.environ) - set(held):
        del os.environ[name]
    os.environ.update(held)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """The environment with these variables, for processes that are started meanwhile."""
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
def deaf() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, which is for their parent; it hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def began() -> float:
    """When this process began, on the monotonic clock; where the system does not say, when this module was loaded."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return min(_loaded, time.monotonic() - age)
    except (OSError, ValueError, IndexError, AttributeError):
        return _loaded
