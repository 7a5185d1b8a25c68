"""Arrays in ``.npz`` files: sequences with a class or with numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.packed import suffix_of
from anyformer.tasks.arrays import (
    Axes,
    axes_in,
    features_of,
    labels_of_arrays,
    load_sequences,
    mask_in,
    split_in,
)
from anyformer.tasks.base import Task
from anyformer.tasks.choices import check_kind
from anyformer.tasks.encoding import DataLayout
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.table_encoding import TableEncoding


@register_reader("npz")
class Npz(Reader):
    """``.npz`` files with ``x`` and ``y``."""

    title = ".npz files"

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True for files with this suffix."""
        return path.is_file() and suffix_of(path) == ".npz"

    @staticmethod
    def open(
        path: Path,
        *,
        kind: Literal["classify", "regress"] | None = None,
        axes: Literal["NTF", "NFT"] | None = None,
        seed: int = 0,
    ) -> Task:
        """Return the task of the arrays.

        Args:
            path: the data.
            kind: ``"classify"`` or ``"regress"``; chosen from the data where not given.
            axes: of x with three axes: "NTF" for samples, time, features; "NFT" for samples, features, time.
            seed: fixes the split and the order of training.
        """
        check_kind(kind, ("forecast", "classify", "regress"))
        return _open(path, kind, axes, seed)


def _open(path: Path, kind: str | None, axes: str | None, seed: int) -> LabelledTask:
    """Return the task of an ``.npz`` file: ``x`` (N, T) or (N, T, F), ``y`` (N,) or (N, M), ``lengths`` (N,) or none.

    ``axes`` is "NTF", or "NFT" where the last axis of x is time; without it, x with a second axis shorter than
    its third is refused, as either may be time.
    """
    if axes not in (None, "NTF", "NFT"):
        raise ValueError(
            f"{option('axes')} must be 'NTF' or 'NFT', the order of samples, time and features, got {axes!r}"
        )
    remarks: list[str] = []
    x, y = load_sequences(path, ("x", "y"), remarks)
    if axes is None:
        axes = axes_in(path)
    mask = mask_in(path, x, axes)
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
        "split": split_in(path, len(x), remarks),
        "encoding": TableEncoding(layout=DataLayout(kind="arrays", axes=order)),
        "facts": {"rows": len(x)},
    }
    if x.ndim == 2 and x.dtype.kind in "iu" and x.min() >= 0 and x.max() < 2**16:
        remarks.append(
            f"x holds whole numbers up to {x.max()}: taken for tokens (save it as float for quantities)"
        )
        return LabelledTask(
            x.astype(np.int64), labels, mask=mask, vocab_size=int(x.max()) + 1, remarks=remarks, **shared
        )
    if x.ndim == 3 and x.dtype == np.uint8:
        remarks.append(
            "x is read as sequences; x[..., None] makes grey images of them, (N, height, width, 1)"
        )
    return LabelledTask(features_of(x, order, remarks), labels, mask=mask, remarks=remarks, **shared)


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
