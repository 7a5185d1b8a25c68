"""Images: folders with a subfolder for each class, tables with a column of paths, and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.images.decoding import Fit
from anyformer.images.files import mostly_images
from anyformer.images.form import ImageForm, load_fitting, read_size
from anyformer.registry import near
from anyformer.spelling import option
from anyformer.tables.arrowfolders import holds_images as pictured
from anyformer.tables.arrowfolders import is_arrow_folder
from anyformer.tables.files import read_table
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import suffix_of
from anyformer.tables.reading import Table
from anyformer.tasks.arrays import labels_of_arrays, split_in
from anyformer.tasks.base import Task
from anyformer.tasks.choices import check_kind, group_keys
from anyformer.tasks.columns import columns_named
from anyformer.tasks.images import ImageEncoding, ImageTask
from anyformer.tasks.imagesources import (
    arrays_of,
    column_of_paths,
    holds_images,
    images_of_classes,
    names_images,
    names_of,
    paths_of,
)
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.row_targets import has_target, targets_of
from anyformer.tasks.splits import COLUMN, check_splits, splits_of

LABELS = ("label", "target", "class", "y")


@register_reader("images")
class Images(Reader):
    """Images with a class or with numbers."""

    title = "images"
    rank = 1
    sections = {
        "tables of images": ("kind", "image", "group", "split", "decimal", "thousands", "missing"),
        "image files": ("size", "fit"),
    }
    encodings = (ImageEncoding,)

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True for folders of images, tables that hold or name images, and ``.npz`` files with four axes."""
        if path.is_dir():
            return pictured(path) or (mostly_images(path) and not is_arrow_folder(path))
        return holds_images(path) if suffix_of(path) == ".npz" else names_images(path)

    @staticmethod
    def open(
        path: Path,
        target: str | Sequence[str] | None = None,
        *,
        size: int | str | None = None,
        fit: Literal["crop", "pad"] = "crop",
        flip: bool = False,
        crop: int = 0,
        class_weights: Literal["balanced"] | None = None,
        kind: Literal["classify", "regress"] | None = None,
        image: str | None = None,
        group: str | Sequence[str] | None = None,
        split: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        missing: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> Task:
        """Return the task made from images.

        Args:
            path: the data.
            target: the column to predict, or several columns of numbers; of a table.
            size: the longer side in pixels that images are scaled to, or height and width as 48x64; by default the
                median of theirs, with a longer side of at most 64.
            fit: of images of other proportions, ``"crop"`` takes the middle, ``"pad"`` keeps all between black bars.
            flip: show training images mirrored at random, left to right.
            crop: shift training images at random, by up to so many pixels each way.
            class_weights: "balanced" weighs the loss of each class by the inverse of its frequency in training.
            kind: ``"classify"`` or ``"regress"``; chosen from the target where not given.
            image: the column of paths; found where not given.
            group: the column, or columns, whose values say which images belong together, such as those of one patient:
                they are kept in one split.
            split: the column that says of each image whether it is train, valid or test.
            decimal: the decimal mark of numbers, "." or ","; found where not given.
            thousands: the thousands separator, one of ``, . '`` and a blank, or "" for none; found where not given.
            missing: texts that stand for a missing target, instead of NA, null, None and the like.
            seed: fixes the split and the order of training.

        Raises:
            DataError: the data cannot be used; one sentence names the file, what is wrong and where.
        """
        check_kind(kind, ("classify", "regress"))
        if fit not in ("crop", "pad"):
            raise ValueError(
                f"{option('fit')} must be 'crop' or 'pad', got {fit!r}{near(fit, ('crop', 'pad'))}"
            )
        if class_weights not in (None, "balanced"):
            raise ValueError(f"{option('class_weights')} must be 'balanced', got {class_weights!r}")
        common: dict[str, Any] = {"name": path.stem or str(path), "flip": flip, "crop": crop, "seed": seed}
        common["balanced"] = class_weights == "balanced"
        columns: dict[str, Any] = {"image": image, "group": group, "split": split}
        columns |= {"decimal": decimal, "thousands": thousands, "missing": missing}
        if path.is_dir() and not is_arrow_folder(path):
            _refuse(
                path,
                "a folder of images, whose classes are its subfolders",
                target=target,
                kind=kind,
                **columns,
            )
            return _open_folder(path, read_size(size), fit, common)
        if suffix_of(path) == ".npz":
            columns |= {"size": size, "fit": None if fit == "crop" else fit}
            _refuse(path, "arrays, whose target is y", target=target, **columns)
            return _open_arrays(path, kind, common)
        marks = None
        if missing is not None:
            marks = frozenset([missing] if isinstance(missing, str) else map(str, missing))
        check_splits(split, {}, path)
        table = read_table(path, Convention(decimal, thousands, marks), splits=True, images=True)
        if is_arrow_folder(path) and COLUMN in table.frame.columns:
            split = COLUMN
        chosen = _Columns.of(table, target, image, group, split)
        return _open_table(table, chosen, kind, read_size(size), fit, common)


@dataclass(frozen=True)
class _Columns:
    """The columns of a table of images: of paths, to predict, of groups, of the split."""

    image: str
    targets: list[str]
    groups: list[str]
    split: list[str]
    remarks: list[str]

    @classmethod
    def of(
        cls,
        table: Table,
        target: str | Sequence[str] | None,
        image: str | None,
        group: str | Sequence[str] | None,
        split: str | None,
    ) -> _Columns:
        """Return the columns that the user named, and those found; a remark names the others."""
        remarks = list(table.remarks)
        column = column_of_paths(table, image)
        groups, splits = columns_named(table, group, "group"), columns_named(table, split, "split")
        taken = {column, *groups, *splits}
        targets = columns_named(table, target, "target") or _guessed_target(table, taken, remarks)
        for name in targets:
            if name in taken:
                raise ValueError(
                    f"{option('target')} must name another column than {name!r}, which is asked for elsewhere"
                )
        others = [repr(name) for name in table.frame.columns if name not in {*taken, *targets}]
        if others:
            remarks.append(f"left out: {', '.join(others)}, as the images of {column!r} alone are inputs")
        return cls(column, targets, groups, splits, remarks)


def _refuse(path: Path, what: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{option(name)} does not apply to {what} ({path}), got {value!r}")


def _open_folder(
    path: Path, size: int | tuple[int, int] | None, fit: Fit, common: dict[str, Any]
) -> ImageTask:
    remarks = list[str]()
    found = images_of_classes(path, remarks)
    loaded = load_fitting(found.paths, found.names, str(path), size=size, fit=fit)
    classes, y = np.unique(np.array(found.labels, object)[loaded.places], return_inverse=True)
    remarks.append(f"each of {len(classes)} folders is a class: classification")
    return ImageTask(
        loaded.pixels,
        y,
        form=loaded.form,
        values=["class"],
        classes=[str(name) for name in classes],
        split=None if found.splits is None else np.array(found.splits, object)[loaded.places],
        remarks=[*remarks, *loaded.remarks],
        **common,
    )


def _open_arrays(path: Path, kind: str | None, common: dict[str, Any]) -> ImageTask:
    remarks = list[str]()
    x, y = arrays_of(path, ("x", "y"), remarks)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{path}: y must be (N,) or (N, M) with N = {len(x)} as in x, got {y.shape}")
    columns = {f"y{i}" if y.ndim == 2 else "y": column for i, column in enumerate(y.reshape(len(y), -1).T)}
    targets, classes = labels_of_arrays(path, columns, kind, remarks)
    form = ImageForm(size=(x.shape[1], x.shape[2]), channels=3 if x.shape[3] == 3 else 1)
    remarks.append(
        f"{len(x)} images, {'RGB' if form.channels == 3 else 'grey'}, {form.sides} pixels (height x width)"
    )
    split = split_in(path, len(x), remarks)
    return ImageTask(
        x, targets, form=form, values=list(columns), classes=classes, split=split, remarks=remarks, **common
    )


def _open_table(
    table: Table,
    columns: _Columns,
    kind: str | None,
    size: int | tuple[int, int] | None,
    fit: Fit,
    common: dict[str, Any],
) -> ImageTask:
    remarks = columns.remarks
    paths = paths_of(table, columns.image)
    if empty := int(paths.isna().sum()):
        remarks.append(f"{empty} rows have no path in {columns.image!r} and are left out")
    table = replace(table, frame=table.frame[paths.notna()])
    table = replace(table, frame=table.frame[has_target(table, columns.targets, kind, remarks)])
    names = names_of(table, columns.image)
    loaded = load_fitting(list(paths.loc[table.frame.index]), names, str(table.path), size=size, fit=fit)
    table = replace(table, frame=table.frame.iloc[loaded.places])
    y, classes = targets_of(table, columns.targets, kind, remarks)
    split = splits_of(table, columns.split[0], remarks) if columns.split else None
    groups = _codes(table, columns.groups, remarks)
    if split is not None and groups is not None and (pd.Series(split).groupby(groups).nunique() > 1).any():
        raise DataError(
            f"{option('split')}: images of one of the groups by {', '.join(map(repr, columns.groups))} are in several "
            f"splits of {table.path}: a group must be in one"
        )
    return ImageTask(
        loaded.pixels,
        y,
        form=loaded.form,
        values=columns.targets,
        classes=classes,
        column=columns.image,
        groups=groups,
        split=split,
        remarks=[*remarks, *loaded.remarks],
        **common,
    )


def _guessed_target(table: Table, taken: set[str], remarks: list[str]) -> list[str]:
    left = [str(name) for name in table.frame.columns if name not in taken]
    usual = [name for name in left if name.lower() in LABELS] or (left if len(left) == 1 else [])
    if len(usual) != 1:
        raise DataError(
            f"{table.path}: {option('target')} must name the column to predict, one of {', '.join(map(repr, left))}"
            if left
            else f"{table.path}: there is no column to predict beside {', '.join(map(repr, sorted(taken)))}"
        )
    remarks.append(f"target not given: taken to be {usual[0]!r}")
    return usual


def _codes(table: Table, groups: list[str], remarks: list[str]) -> np.ndarray | None:
    """Return the group of each image; images without one are each their own."""
    if not groups:
        return None
    keys = group_keys(table, groups)
    codes: np.ndarray = pd.factorize(keys)[0]
    alone = codes < 0
    if alone.any():
        remarks.append(f"{int(alone.sum())} images have no group, and each counts as one")
        codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    remarks.append(f"{len(np.unique(codes))} groups of images, each kept in one split")
    return codes
