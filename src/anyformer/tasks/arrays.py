"""Arrays of sequences, in ``.npz`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.numbercells import LARGEST
from anyformer.tables.reading import Table
from anyformer.tasks.encoding import DataLayout
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.labels import targets_of

Axes = Literal["NTF", "NFT"]


def open_arrays(path: Path, kind: str | None, axes: str | None, seed: int) -> LabelledTask:
    """Return the task of an ``.npz`` file: ``x`` (N, T) or (N, T, F), ``y`` (N,) or (N, M).

    ``axes`` is "NTF", or "NFT" where the last axis of x is time; without it, x with a second axis shorter than
    its third is refused, as either may be time.
    """
    if axes not in (None, "NTF", "NFT"):
        raise ValueError(
            f"{option('axes')} must be 'NTF' or 'NFT', the order of samples, time and features, got {axes!r}"
        )
    remarks: list[str] = []
    x, y = load_sequences(path, ("x", "y"), remarks)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{path}: y must be (N,) or (N, M) with N = {len(x)} as in x, got {y.shape}")
    order = _order(path, x, axes, remarks)
    columns = {f"y{i}" if y.ndim == 2 else "y": column for i, column in enumerate(y.reshape(len(y), -1).T)}
    labels, classes = labels_of_arrays(path, columns, kind, remarks)
    shared: dict[str, Any] = {
        "name": path.stem,
        "classes": classes,
        "values": list(columns),
        "seed": seed,
        "layout": DataLayout(kind="arrays", axes=order),
        "facts": {"rows": len(x)},
    }
    if x.ndim == 2 and x.dtype.kind in "iu" and x.min() >= 0 and x.max() < 2**16:
        remarks.append(
            f"x holds whole numbers up to {x.max()}: taken for tokens (save it as float for quantities)"
        )
        return LabelledTask(
            x.astype(np.int64), labels, vocab_size=int(x.max()) + 1, remarks=remarks, **shared
        )
    if x.ndim == 3 and x.dtype == np.uint8:
        remarks.append(
            "x is read as sequences; x[..., None] makes grey images of them, (N, height, width, 1)"
        )
    return LabelledTask(features_of(x, order, remarks), labels, remarks=remarks, **shared)


def _order(path: Path, x: np.ndarray, axes: str | None, remarks: list[str]) -> Axes:
    """Return the order of the axes of x: "NTF" or "NFT"."""
    if axes is not None and x.ndim == 2:
        raise ValueError(f"{option('axes')} is for x with three axes; in {path} it has the shape {x.shape}")
    if axes is not None:
        return "NFT" if axes == "NFT" else "NTF"
    if x.ndim == 2:
        return "NTF"
    middle, last = x.shape[1:]
    if 1 < middle < last:
        raise DataError(
            f"{path}: x has the shape {x.shape}: give {option('axes', 'NFT')} if it is {middle} features over "
            f"{last} steps, {option('axes', 'NTF')} if it is {middle} steps of {last} features"
        )
    order: Axes = "NFT" if middle == 1 < last else "NTF"
    steps, features, other = (last, middle, "NTF") if order == "NFT" else (middle, last, "NFT")
    remarks.append(
        f"x is read as {steps} steps of {features} features; {option('axes', other)} reads it the other way"
    )
    return order


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
            others = [repr(name) for name in stored.files if name not in ("x", "y")]
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
    gone = frame.isna() | (frame.select_dtypes(np.number).abs() > LARGEST).reindex(
        columns=frame.columns, fill_value=False
    )
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
