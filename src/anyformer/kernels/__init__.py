"""Native CPU kernels behind the ops: plain C, one library for each instruction set, optional everywhere.
(:mod:`anyformer.kernels.cuda` has those for CUDA.)

Only ops import this room. An op asks :func:`refuses` whether the kernels take its tensors, and calls one by name with
:func:`run`; its pure PyTorch form stands beside it for every other case.

The environment variable ``ANYFORMER_NATIVE=0`` turns the kernels off, and another instruction set's name
(``baseline``, ``avx2``, ``avx512``) chooses that library, the whole path of a folder those in it. Threads follow
``torch.set_num_threads``.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = {"AVX512": "avx512", "AVX2": "avx2"}
"""Libraries by what PyTorch calls the capability of this CPU (which ATEN_CPU_CAPABILITY can lower)."""
SUFFIXES = {torch.float32: "_f32", torch.float64: "_f64"}

_off = 0


class Status(NamedTuple):
    """Which library is in use, ``None`` if none, and why."""

    library: str | None
    reason: str


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, Status]:
    wanted = os.environ.get("ANYFORMER_NATIVE", "1")
    if wanted == "0":
        return None, Status(None, "ANYFORMER_NATIVE=0 turns the native kernels off")
    given = os.path.isabs(wanted)  # a name never means a folder that happens to be here
    best = LEVELS.get(torch.backends.cpu.get_cpu_capability(), "baseline")
    level = best if given or wanted == "1" else wanted
    built = built_in([wanted] if given else __path__)
    if not built:
        reason = "installed without native kernels (no C compiler was found); install one and reinstall"
        return None, _without(reason)
    if level not in built:
        remedy = "; CMAKE_ARGS=-DANYFORMER_BASELINE=ON pip install builds them" if level == "baseline" else ""
        return None, _without(f"no native kernels for {level!r}, only for {', '.join(built)}{remedy}")
    try:
        return _open(built[level]), Status(level, f"native {level} kernels")
    except OSError as error:
        return None, _without(f"the native kernels could not be loaded ({error})")


def built_in(folders: Iterable[str]) -> dict[str, Path]:
    """The libraries that lie in folders, by instruction set. (An editable install's are not beside this file.)"""
    suffix = ".dll" if sys.platform == "win32" else ".so"
    found = (path for folder in folders for path in sorted(Path(folder).glob(f"anyformer_*{suffix}")))
    return {path.stem.removeprefix("anyformer_"): path for path in found}


def _open(path: Path) -> ctypes.CDLL:
    """Load a library; its OpenMP runtime is the one that PyTorch has loaded, or the system's."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        runtime = "libomp.dylib" if platform.system() == "Darwin" else "libgomp.so.1"
        bundled = Path(torch.__file__).parent / "lib" / runtime
        ctypes.CDLL(str(bundled) if bundled.exists() else runtime, mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(path))


def _without(reason: str) -> Status:
    """Say once, also for processes that this one starts, that the slower forms run."""
    if "ANYFORMER_NOTICED" not in os.environ:
        os.environ["ANYFORMER_NOTICED"] = "1"
        logging.getLogger("anyformer").warning(
            "anyformer: %s. The pure PyTorch forms run instead: everything works, recurrent models several "
            "times slower on CPU. `anyformer doctor` shows each op's path.",
            reason,
        )
    return Status(None, reason)


OFF = "turned off by use_native(False)"

_found: Status | None = None  # once somebody has asked


@torch.compiler.assume_constant_result
def _find() -> Status:
    global _found
    _found = _load()[1]
    return _found


def turned_off() -> bool:
    """Whether :func:`use_native` has turned native forms off."""
    return _off > 0


def status() -> Status:
    """Whether there are native kernels here, and why or why not."""
    return Status(None, OFF) if _off else _found or _find()


@contextmanager
def use_native(native: bool) -> Iterator[None]:
    """With ``False``, run the pure PyTorch forms."""
    global _off
    _off += not native
    try:
        yield
    finally:
        _off -= not native


def refuses(*tensors: Tensor | None) -> str | None:
    """Why the kernels do not take these tensors, ``None`` where they do.

    They take tensors on the CPU, none empty, all float32 or all float64. A compiler can trace this function.
    """
    if _off:
        return OFF
    library, why = _found or _find()
    if library is None:
        return why
    dtype = None
    for x in tensors:
        if x is None:
            continue
        if not x.is_cpu:
            return "the native kernels are for CPUs"
        if x.dtype is not dtype:
            if dtype is not None:
                return "the native kernels take tensors of one type"
            dtype = x.dtype
        if x.numel() == 0:
            return "a tensor is empty"
    return None if dtype in SUFFIXES else "the native kernels take float32 and float64"


def run(name: str, *args: Tensor | int | float | None) -> None:
    """Call ``name`` for the type of its first argument, with the number of threads added at the end.

    A tensor is passed as its address, so that the caller answers for its layout (``ops/_memory.py``); ``None`` as a
    null pointer, int as int64, float as double.
    """
    first = args[0]
    assert isinstance(first, Tensor)
    function = _functions.get((name, first.dtype))
    if function is None:
        function = _functions[name, first.dtype] = _function(name + SUFFIXES[first.dtype], args)
    function(*[a if type(a) in _NUMBERS else a.data_ptr() for a in args], torch.get_num_threads())  # type: ignore[union-attr]


_NUMBERS = frozenset((int, float, bool, type(None)))


_functions: dict[tuple[str, torch.dtype], ctypes._NamedFuncPointer] = {}


def _function(name: str, args: tuple[Tensor | int | float | None, ...]) -> ctypes._NamedFuncPointer:
    """The kernel, which takes arguments of these kinds from now on."""
    library = _load()[0]
    assert library is not None
    function = getattr(library, name)
    kinds = ["p" if a is None or isinstance(a, Tensor) else "i" if isinstance(a, int) else "d" for a in args]
    types = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
    function.argtypes = [types[kind] for kind in [*kinds, "i"]]
    function.restype = None
    return function
