"""Arrays in ``.npz`` files: sequences with a class or with numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anyformer.tables.packed import suffix_of
from anyformer.tasks.arrays import open_arrays
from anyformer.tasks.base import Task
from anyformer.tasks.choices import check_kind
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader


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
        return open_arrays(path, kind, axes, seed)
