"""Sources of images: folders with a subfolder for each class, tables with a column of paths, and arrays."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from anyformer.errors import DataError
from anyformer.images.decoding import SUFFIXES, ImageSource
from anyformer.images.files import images_below, is_image, visible
from anyformer.images.form import ImageForm, grey_of, load_again, reasons
from anyformer.spelling import option
from anyformer.tables.arrowfolders import is_arrow_folder
from anyformer.tables.columns import check_column, is_text
from anyformer.tables.delimited import DelimitedStyle, decode
from anyformer.tables.files import READ, read_table
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import content, is_packed, suffix_of
from anyformer.tables.reading import Table
from anyformer.tasks.arrays import load_arrays
from anyformer.tasks.base import SPLITS, Split
from anyformer.tasks.new_data import names_of_rows, rows_from_1
from anyformer.tasks.splits import WORDS

PEEK = 1 << 16
"""Bytes of a table that are looked at for paths of images."""
_PATH = re.compile(
    r"[^,;\t|\"'\n]+\.(?:" + "|".join(sorted(suffix[1:] for suffix in SUFFIXES)) + r")(?=[\"',;\t|\s}\]]|$)",
    re.I,
)


@dataclass(frozen=True)
class NewImages:
    """Images without targets.

    Attributes:
        pixels: ``(N, H, W, C)`` uint8.
        names: one row for each.
        remarks: decisions made about them.
        style: the format of a table.
    """

    pixels: np.ndarray
    names: pd.DataFrame
    remarks: list[str]
    style: DelimitedStyle


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder.

    Attributes:
        paths: the files.
        names: relative to the folder.
        labels: the class of each.
        splits: the split of each, if the folder is split.
    """

    paths: list[Path]
    names: list[str]
    labels: list[str]
    splits: list[Split] | None


def images_of_classes(folder: Path, remarks: list[str]) -> ClassFolders:
    """Return the images of a folder with a subfolder for each class, or with such folders called train, valid and test.

    Raises:
        DataError: there are no such subfolders.
    """
    paths = images_below(folder, remarks)
    inside = {path: path.relative_to(folder).parts for path in paths}
    tops = {parts[0] for parts in inside.values() if len(parts) > 1}
    deeper = {parts[0] for parts in inside.values() if len(parts) > 2}
    split = bool(deeper) and all(name.lower() in WORDS for name in tops)
    depth = 2 if split else 1
    kept = [path for path in paths if len(inside[path]) > depth]
    if not kept:
        raise DataError(
            f"{folder} holds images and no folders of them: put those of each class into a folder called by the class, "
            "or give a table with a column of paths and one to predict"
        )
    if loose := [path.relative_to(folder).as_posix() for path in paths if len(inside[path]) <= depth]:
        remarks.append(f"left out: {len(loose)} images that lie in no class's folder ({loose[0]}, ...)")
    labels = [inside[path][depth - 1] for path in kept]
    if len(set(labels)) == 1:
        hint = (
            f"; if the classes are the folders in it, give {kept[0].parents[0].parent}"
            if deeper and not split
            else ""
        )
        raise DataError(f"{folder}: all images are of one class, {labels[0]!r}: nothing to learn{hint}")
    if below := sum(len(inside[path]) > depth + 1 for path in kept):
        remarks.append(f"{below} images lie in folders below that of their class")
    shown = [one for one in sorted(folder.iterdir()) if one.is_dir() and visible(one, folder)]
    if empty := [one.name for one in shown if one.name not in tops]:
        remarks.append(f"left out: the folders {', '.join(map(repr, empty[:5]))}, which hold no images")
    splits = [WORDS[inside[path][0].lower()] for path in kept] if split else None
    if splits is not None:
        counts = Counter(splits)
        remarks.append(
            "the splits are as given: " + ", ".join(f"{counts[name]} images {name}" for name in SPLITS)
        )
    return ClassFolders(kept, [path.relative_to(folder).as_posix() for path in kept], labels, splits)


def names_images(path: Path) -> bool:
    """True if a table has a column of paths of images that are there, by its first rows."""
    if suffix_of(path) not in READ:
        return False
    try:
        lines = _first_rows(path)
    except Exception:  # a damaged file: whoever reads it says so
        return False
    found = [[match.group().strip() for match in _PATH.finditer(line)] for line in lines]
    named = [texts for texts in found if texts]
    return 0 < 2 * len(named) >= len(lines) and any(
        where_is(text, path.parent).is_file() for texts in named[:20] for text in texts
    )


def _first_rows(path: Path, most: int = 50) -> list[str]:
    if suffix_of(path) in (".parquet", ".pq"):
        batch = next(pq.ParquetFile(path).iter_batches(batch_size=most)).to_pandas()
        texts = batch.select_dtypes(["object", "string"])
        return ["\t".join(map(str, row)) for row in texts.itertuples(index=False)]
    with gzip.open(path) if is_packed(path) else path.open("rb") as file:
        lines = file.read(PEEK).decode("utf-8", "replace").split("\n")
    first = 0 if suffix_of(path) in (".jsonl", ".ndjson") else 1
    return [line for line in lines[first : most + 1] if line.strip()]


def where_is(text: str, folder: Path) -> Path:
    """Return the file that a text names: as seen from a folder, or from the folder of this process."""
    path = Path(text.strip())
    tries = [folder / path, path, folder / text.strip().replace("\\", "/")]
    return next((one for one in tries if one.is_file()), tries[0])


def column_of_paths(table: Table, given: str | None) -> str:
    """Return the column that holds paths of images.

    Raises:
        DataError: there is none, or there are several and none is ``given``.
    """
    if given is not None:
        return check_column(table.path, table.frame, given, "image")
    found = []
    for name in table.frame.columns:
        cells = table.frame[name].dropna() if is_text(table.frame[name]) else []
        if len(cells) and np.mean([_names_image(cell) for cell in cells]) > 0.5:
            found.append(str(name))
    if len(found) != 1:
        which = f"the columns {', '.join(map(repr, found))} hold" if found else "no column holds"
        raise DataError(f"{table.path}: {which} paths of images; {option('image')} names the column to read")
    return found[0]


def _names_image(cell: object) -> bool:
    """True for the path of an image, and for its bytes."""
    return isinstance(cell, bytes) or Path(str(cell).strip()).suffix.lower() in SUFFIXES


def paths_of(table: Table, column: str) -> pd.Series:
    """Return the path of each row's image, or its bytes where the table holds them; missing where there is none."""

    def source_of(cell: object) -> ImageSource:
        return cell if isinstance(cell, bytes) else where_is(str(cell), table.path.parent)

    return table.keys(column).map(source_of, na_action="ignore")


def names_of(table: Table, column: str) -> list[str]:
    """Return the name of each image in messages: its path, or the number of its row."""
    return [
        f"row {row + 1}" if isinstance(cell, bytes) else str(cell) for row, cell in table.keys(column).items()
    ]


def read_new(path: Path, form: ImageForm, column: str | None) -> NewImages:
    """Read images without targets: of a folder, of a table or a ``.txt`` of paths, of an ``.npz`` file, or one image.

    Args:
        path: the folder or file.
        form: theirs.
        column: of a table, which holds the paths; found where the table has none of that name.

    Raises:
        DataError: none of them can be read.
    """
    remarks, style, ids = list[str](), DelimitedStyle(), pd.DataFrame()
    if suffix_of(path) == ".npz":
        pixels = _in_form(path, arrays_of(path, ("x",), remarks)[0], form, remarks)
        return NewImages(pixels, rows_from_1(len(pixels)), remarks, style)
    head = "file"
    paths: list[ImageSource]
    if path.is_dir() and not is_arrow_folder(path):
        files = images_below(path, remarks)
        paths, names = [*files], [one.relative_to(path).as_posix() for one in files]
    elif is_image(path):
        paths, names = [path], [path.name]
    elif suffix_of(path) == ".txt":
        names = [line.strip() for line in decode(path, content(path)).split("\n") if line.strip()]
        paths = [where_is(name, path.parent) for name in names]
    else:
        table = read_table(path, Convention(missing=frozenset()), images=True)
        remarks.extend(table.remarks)
        style = table.style
        head = column_of_paths(table, column if column in table.frame.columns else None)
        known = paths_of(table, head).dropna()
        if len(known) < len(table.frame):
            remarks.append(f"left out: {len(table.frame) - len(known)} rows without a path")
        paths, names = list(known), names_of(replace(table, frame=table.frame.loc[known.index]), head)
        ids = names_of_rows(table, {head}, table.frame.index.get_indexer(known.index)).iloc[:, 1:]
    if not paths:
        raise DataError(f"{path} holds no images")
    loaded = load_again(paths, form)
    if not len(loaded.places):
        raise DataError(f"{path}: no image can be read: {reasons(loaded.unreadable, names)}")
    if loaded.unreadable:
        remarks.append(f"left out: {reasons(loaded.unreadable, names, 20)}")
    told = pd.DataFrame({head: [names[place] for place in loaded.places]})
    if isinstance(paths[0], bytes):
        told = pd.DataFrame({"row": [int(names[place].removeprefix("row ")) for place in loaded.places]})
    if len(ids.columns):
        told = told.join(ids.iloc[loaded.places].reset_index(drop=True))
    return NewImages(loaded.pixels, told, [*remarks, *loaded.remarks], style)


def holds_images(path: Path) -> bool:
    """True if an ``.npz`` file holds an array x with four axes."""
    try:
        with np.load(path, allow_pickle=False) as stored, stored.zip.open("x.npy") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            return len(read(file)[0]) == 4
    except Exception:  # a damaged file: whoever reads it says so
        return False


def arrays_of(path: Path, names: tuple[str, ...], remarks: list[str]) -> list[np.ndarray]:
    """Return arrays of an ``.npz`` file, x as ``(N, H, W, C)`` uint8.

    Raises:
        DataError: one is missing, or x is not of that form.
    """
    x, *others = load_arrays(path, names, remarks)
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[3] not in (1, 3) or 0 in x.shape:
        raise DataError(
            f"{path}: images x must be (N, height, width, channels) of uint8, with 1 channel (grey) or 3 (RGB), got "
            f"{x.dtype} {x.shape}"
        )
    return [x, *others]


def _in_form(path: Path, x: np.ndarray, form: ImageForm, remarks: list[str]) -> np.ndarray:
    if x.shape[1:3] != form.size:
        raise DataError(
            f"{path}: images x must be {form.sides} pixels as in training, got {x.shape[1]} x {x.shape[2]}"
        )
    if x.shape[3] == form.channels:
        return x
    if form.channels == 3:
        return np.repeat(x, 3, axis=3)
    remarks.append(f"the images of {path.name} have colours; the model reads them as grey ones")
    return grey_of(x)
