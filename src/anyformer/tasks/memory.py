"""Data in memory, written to a file, from which workers read it, and from which a comparison is resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from anyformer.errors import DataError
from anyformer.tasks.torch_datasets import arrays_of_dataset

Memory: TypeAlias = pd.DataFrame | np.ndarray | torch.Tensor | tuple[Any, Any] | Dataset[Any]
"""A table; sequences x ``(N, T)`` or ``(N, T, F)``; a pair of x and labels or numbers y ``(N,)`` or ``(N, M)``; or a
``Dataset`` of pairs, see :func:`anyformer.tasks.torch_datasets.arrays_of_dataset`."""
IN_MEMORY = (pd.DataFrame, np.ndarray, torch.Tensor, tuple, Dataset)


def source_of(data: object) -> str:
    """Return the name or the path of data that is not in memory.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(data, (str, os.PathLike)):
        return str(os.fspath(data))
    raise ValueError(
        "data must be the name of a task, a path, a DataFrame, arrays (x, y) or a Dataset of pairs, got an object of "
        f"the type {type(data).__name__}"
    )


@contextmanager
def on_disk(data: Memory, folder: Path, *, targets: bool = True) -> Iterator[Path]:
    """Write data into ``folder`` and give its path.

    A table becomes ``data.parquet``, its index among the columns if it is more than row numbers; arrays become
    ``data.npz``, and so does a ``Dataset``, whose items need no targets if ``targets`` is False. If an error ends the
    block before anything else is in the folder, the file is removed again, and the folder if it was made here.

    Raises:
        DataError: the data cannot be written; one sentence says why.
        ValueError: there is such a file already.
    """
    made = [parent for parent in [folder, *folder.parents] if not parent.exists()]
    before = set() if made else set(folder.iterdir())
    path = folder / ("data.parquet" if isinstance(data, pd.DataFrame) else "data.npz")
    if path.exists():
        raise ValueError(f"{os.fspath(path)!r} is there already: name another folder for data in memory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(data, pd.DataFrame):
            _write_table(data, path)
        elif isinstance(data, Dataset):
            np.savez(path, **arrays_of_dataset(data, targets=targets))  # type: ignore[arg-type]
        else:
            _write_arrays(data if isinstance(data, tuple) else (data,), path)
        yield path
    except BaseException:
        if folder.is_dir() and set(folder.iterdir()) <= before | {path}:
            path.unlink(missing_ok=True)
            for parent in made:
                parent.rmdir()
        raise


def _write_table(frame: pd.DataFrame, path: Path) -> None:
    names = [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"data: two columns of the DataFrame are named {twice[0]!r}; rename one")
    try:
        frame.set_axis(names, axis=1).to_parquet(path)
    except Exception as error:  # pyarrow raises many kinds for what it cannot write
        why = " ".join(str(part) for part in getattr(error, "args", [error]))
        raise DataError(f"data: the DataFrame cannot be written as Parquet: {why}") from None


def _write_arrays(data: tuple[object, ...], path: Path) -> None:
    if not 1 <= len(data) <= 2:
        raise DataError(f"data: a tuple must hold x and y, got {len(data)} values")
    arrays = {}
    for name, value in zip("xy", data):
        value = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if value.dtype == object:
            value = np.array(value.tolist())
        if value.dtype == object:
            raise DataError(f"data: {name} must be an array of numbers or labels, got one of Python objects")
        arrays[name] = value
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stubs take names for the option allow_pickle
