"""Native CPU kernels behind the ops: plain C, one library for each instruction set, optional everywhere.
(:mod:`anyformer.kernels.cuda` has those for CUDA.)

Only ops import this room. :func:`refuses` says whether the kernels support an op's tensors, :func:`run` calls a kernel
by name; each op has a pure PyTorch form for every other case.

The environment variable ``ANYFORMER_NATIVE`` chooses the library: ``0`` none, ``baseline``, ``avx2`` or ``avx512`` that
instruction set, an absolute path the libraries in that folder. The number of threads is ``torch.get_num_threads()``.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

LEVELS = {"AVX512": "avx512", "AVX2": "avx2"}
"""Libraries by PyTorch's name of the CPU's capability, which ATEN_CPU_CAPABILITY can lower."""
SUFFIXES = {torch.float32: "_f32", torch.float64: "_f64"}

F = TypeVar("F", bound=Callable[..., Any])

_off = 0


class NativeStatus(NamedTuple):
    """The library in use, None if none, and the reason."""

    library: str | None
    reason: str


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, NativeStatus]:
    wanted = os.environ.get("ANYFORMER_NATIVE", "1")
    if wanted == "0":
        return None, NativeStatus(None, "ANYFORMER_NATIVE=0 turns the native kernels off")
    given = os.path.isabs(wanted)  # only an absolute path is a folder
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
        return _open(built[level]), NativeStatus(level, f"native {level} kernels")
    except OSError as error:
        return None, _without(f"the native kernels could not be loaded ({error})")


def built_in(folders: Iterable[str]) -> dict[str, Path]:
    """Return the libraries in folders, by instruction set. (Those of an editable install are not beside this file.)"""
    suffix = ".dll" if sys.platform == "win32" else ".so"
    found = (path for folder in folders for path in sorted(Path(folder).glob(f"anyformer_*{suffix}")))
    return {path.stem.removeprefix("anyformer_"): path for path in found}


def _open(path: Path) -> ctypes.CDLL:
    """Load a library, with the OpenMP runtime that PyTorch has loaded, or else the system's."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        runtime = "libomp.dylib" if platform.system() == "Darwin" else "libgomp.so.1"
        bundled = Path(torch.__file__).parent / "lib" / runtime
        ctypes.CDLL(str(bundled) if bundled.exists() else runtime, mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(path))


def _without(reason: str) -> NativeStatus:
    """Warn that the slower forms run, once for this process and those that it starts."""
    if "ANYFORMER_NOTICED" not in os.environ:
        os.environ["ANYFORMER_NOTICED"] = "1"
        logging.getLogger("anyformer").warning(
            "anyformer: %s. The pure PyTorch forms run instead: everything works, recurrent models several "
            "times slower on CPU. `anyformer doctor` shows each op's path.",
            reason,
        )
    return NativeStatus(None, reason)


OFF = "turned off by use_native(False)"

_found: NativeStatus | None = None  # set by the first status() or refuses()


def constant(function: F) -> F:
    """Mark a function's result as a constant of compiled code.

    ``torch.compiler.assume_constant_result`` does the same, and imports the compiler: a second of every start.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant
def _find() -> NativeStatus:
    global _found
    _found = _load()[1]
    return _found


def turned_off() -> bool:
    """Return True if :func:`use_native` has turned the native forms off."""
    return _off > 0


def status() -> NativeStatus:
    """Return the library of native kernels in use, and the reason."""
    return NativeStatus(None, OFF) if _off else _found or _find()


@contextmanager
def use_native(native: bool) -> Iterator[None]:
    """Run the pure PyTorch forms inside, if ``native`` is False."""
    global _off
    _off += not native
    try:
        yield
    finally:
        _off -= not native


def refuses(*tensors: Tensor | None) -> str | None:
    """Return why the kernels do not support these tensors, None if they do.

    They support tensors on the CPU, none empty, all float32 or all float64. torch.compile can trace this function.
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
                return "the native kernels support tensors of one dtype only"
            dtype = x.dtype
        if x.numel() == 0:
            return "a tensor is empty"
    return None if dtype in SUFFIXES else "the native kernels support float32 and float64 only"


def run(name: str, *args: Tensor | int | float | None) -> None:
    """Call the kernel ``name`` for the dtype of its first argument, with the number of threads as last argument.

    Tensors are passed as addresses: the caller is responsible for their layout (``ops/_memory.py``). None is passed as
    a null pointer, int as int64, float as double.
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
    """Return the kernel, its argument types set to the kinds of ``args``."""
    library = _load()[0]
    assert library is not None
    function = getattr(library, name)
    kinds = ["p" if a is None or isinstance(a, Tensor) else "i" if isinstance(a, int) else "d" for a in args]
    types = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
    function.argtypes = [types[kind] for kind in [*kinds, "i"]]
    function.restype = None
    return function
