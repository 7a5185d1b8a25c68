"""Arrays of sequences, in ``.npz`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.tables.numbercells import LARGEST
from anyformer.tables.reading import Table
from anyformer.tasks.row_targets import targets_of
from anyformer.tasks.splits import splits_of

Axes = Literal["NTF", "NFT"]
BESIDE = ("lengths", "axes", "split", "remarks")
"""Arrays of a file that say how x and y are read."""


def load_arrays(path: Path, names: tuple[str, ...], remarks: list[str]) -> list[np.ndarray]:
    """Return arrays of an ``.npz`` file, with a remark on those that are left out.

    Raises:
        DataError: one is missing, or the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not set(names) <= set(stored.files):
                held = ", ".join(stored.files) or "nothing"
                raise DataError(
                    f"{path} must hold array{'s' * (len(names) > 1)} {' and '.join(names)}; it holds {held}"
                )
            arrays = [stored[name] for name in names]
            others = [repr(name) for name in stored.files if name not in ("x", "y", *BESIDE)]
            if "remarks" in stored.files:
                remarks.extend(map(str, stored["remarks"].ravel()))
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and pickle each raise their own
        why = "it holds Python objects" if "pickle" in str(error) else str(error)
        raise DataError(
            f"{path} is not a readable .npz file of plain arrays: {why}; numpy.savez('data.npz', x=x, y=y) writes one"
        ) from None
    if others:
        remarks.append(f"left out: {', '.join(others)}, as only the arrays x and y are read")
    return arrays


def _stored(path: Path, name: str) -> np.ndarray | None:
    """Return a further array of a file; None if it holds none of that name.

    Raises:
        DataError: it is an array of Python objects.
    """
    with np.load(path, allow_pickle=False) as stored:
        if name not in stored.files:
            return None
        try:
            found: np.ndarray = stored[name]
        except ValueError:
            raise DataError(
                f"{path}: {name} is an array of Python objects; numpy.array({name}.tolist()) makes a plain one"
            ) from None
    return found


def mask_in(path: Path, x: np.ndarray, axes: str | None) -> np.ndarray | None:
    """Return the mask ``(N, T)`` that the array ``lengths`` of a file makes; None if all sequences are as long.

    Raises:
        DataError: it does not hold a length for each sequence.
    """
    lengths = _stored(path, "lengths")
    if lengths is None:
        return None
    longest = x.shape[2] if axes == "NFT" and x.ndim == 3 else x.shape[1]
    whole = lengths.shape == (len(x),) and lengths.dtype.kind in "iu"
    if not whole or lengths.min() < 1 or lengths.max() > longest:
        got = (
            f", which are {lengths.min()} to {lengths.max()}"
            if whole
            else f", got {lengths.dtype} {lengths.shape}"
        )
        raise DataError(f"{path}: lengths must be ({len(x)},) whole numbers from 1 to {longest}{got}")
    found: np.ndarray = np.arange(longest)[None] < lengths[:, None]
    return found


def split_in(path: Path, count: int, remarks: list[str]) -> np.ndarray | None:
    """Return the split of each sample that the array ``split`` of a file names ``(N,)``; None if it holds none.

    Raises:
        DataError: it does not name train, valid or test for each of ``count`` samples.
    """
    given = _stored(path, "split")
    if given is None:
        return None
    if given.shape != (count,) or given.dtype.kind not in "US":
        raise DataError(
            f"{path}: split must name train, valid or test for each of {count} samples, got {given.dtype} {given.shape}"
        )
    words = given if given.dtype.kind == "U" else np.char.decode(given, "utf-8", "backslashreplace")
    return splits_of(Table(path, pd.DataFrame({"split": words})), "split", remarks)


def axes_in(path: Path) -> str | None:
    """Return the order of axes that the array ``axes`` of a file names; None if it names none."""
    text = str(_stored(path, "axes"))
    return text if text in get_args(Axes) else None


def load_sequences(path: Path, names: tuple[str, ...], remarks: list[str]) -> list[np.ndarray]:
    """Return arrays as :func:`load_arrays` does; ``DataError`` if x is not numeric ``(N, T)`` or ``(N, T, F)``."""
    arrays = load_arrays(path, names, remarks)
    x = arrays[0]
    if x.ndim not in (2, 3) or 0 in x.shape or x.dtype.kind not in "iufb":
        raise DataError(f"{path}: x must be numbers (N, T) or (N, T, F), got {x.dtype} {x.shape}")
    return arrays


def features_of(x: np.ndarray, axes: Axes, remarks: list[str]) -> np.ndarray:
    """Return x ``(N, T)``, or with three ``axes``, as floats ``(N, T, F)``, NaN where it is not finite."""
    found: np.ndarray = x.astype(np.float64)
    found = found[..., None] if x.ndim == 2 else found.transpose(0, 2, 1) if axes == "NFT" else found
    gone = np.isnan(found)
    if x.dtype.kind in "iu" and (lost := int((x.astype(np.float64).astype(x.dtype) != x).sum())):
        remarks.append(f"x: {lost} values have more digits than a number holds and lose the last ones")
    beyond = np.abs(found) > LARGEST
    if gone.any():
        remarks.append(
            f"x: {int(gone.sum())} of {x.size} values are missing; they are set to the mean and marked"
        )
    if beyond.any():
        remarks.append(
            f"x: {int(beyond.sum())} of {x.size} values are infinite or beyond {LARGEST:.0e} and count as missing"
        )
    found[beyond] = np.nan
    return found


def labels_of_arrays(
    path: Path, columns: dict[str, np.ndarray], kind: str | None, remarks: list[str]
) -> tuple[np.ndarray, list[str] | None]:
    """Return class numbers with the classes' names, or numbers and None, of the columns of y."""
    frame = pd.DataFrame(columns)
    numbers = frame.select_dtypes(np.number).astype(np.float64)
    gone = frame.isna() | (numbers.abs() > LARGEST).reindex(columns=frame.columns, fill_value=False)
    if gone.any().any():
        row = int(np.argmax(gone.any(axis=1)))
        raise DataError(
            f"{path}: y holds {int(gone.sum().sum())} values that are missing, infinite or beyond {LARGEST:.0e} (first "
            f"in row {row + 1}); leave these rows out of x and y"
        )
    for name, column in frame.items():
        if column.map(type).eq(bytes).any():
            frame[name] = column.map(lambda label: label.decode("utf-8", "backslashreplace"))
    return targets_of(Table(path, frame), list(columns), kind, remarks)
