"""Folders that Hugging Face's ``datasets`` saves (``save_to_disk``): Arrow files with typed columns, and their splits.

A data set is a folder with ``state.json``, which names its Arrow files, and ``dataset_info.json``, which holds the
types of its columns. Several splits are such folders inside one with ``dataset_dict.json``, which names them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from anyformer.errors import DataError
from anyformer.tables.columns import SPLIT
from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import Table, from_objects

SPLIT_NAMES = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Splits by their usual names, in lower case."""
_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""Last bytes of a stream of Arrow that is whole."""
_UNREAD = {"Audio": "sounds", "Video": "films", "Pdf": "documents", "Nifti": "volumes"}


class ArrowRows(NamedTuple):
    """Rows of a folder as Python values.

    Attributes:
        columns: by name, in order; classes are texts, images bytes or paths, and lists are lists.
        classes: columns that hold one class a row.
        images: columns of images.
        remarks: what was left out.
    """

    columns: pd.DataFrame
    classes: list[str]
    images: list[str]
    remarks: list[str]


def is_arrow_folder(path: Path) -> bool:
    """True for a folder that ``datasets`` saved: a data set, or several splits of one."""
    return path.is_dir() and ((path / _DICT).is_file() or (path / _STATE).is_file())


def has_splits(path: Path) -> bool:
    """True for a folder that ``datasets`` saved with several splits for training, validation and test."""
    return not (path / _STATE).is_file() and sum(name.casefold() in SPLIT_NAMES for name in _names(path)) > 1


def check_one_split(path: Path) -> None:
    """Raise ``DataError`` for a folder that ``datasets`` saved with several splits."""
    if is_arrow_folder(path) and has_splits(path):
        raise DataError(
            f"{path} has splits: give the folder of one of them, such as {path / _names(path)[-1]}"
        )


def features_in(path: Path) -> dict[str, Any]:
    """Return the types of the columns, as ``dataset_info.json`` has them; none if they cannot be read."""
    try:
        return _features(path if (path / _STATE).is_file() else path / _names(path)[0])
    except (DataError, IndexError):  # who reads the folder says so
        return {}


def example_row(path: Path) -> dict[str, Any]:
    """Return a made-up row of a folder, with a value of the type of each column: a text, a number, lists of them."""
    return {name: _example(feature) for name, feature in features_in(path).items()}


def _example(feature: Any) -> Any:
    if isinstance(feature, list):
        return [_example(one) for one in feature]
    if not isinstance(feature, dict):
        return None
    kind = feature.get("_type")
    if kind in ("List", "LargeList", "Sequence"):
        return [_example(feature.get("feature"))]
    if kind is None:
        return {name: _example(one) for name, one in feature.items()}
    texts = kind == "ClassLabel" or feature.get("dtype") in ("string", "large_string")
    return "x" if texts else 1 if kind == "Value" else None


def holds_images(path: Path) -> bool:
    """True for a folder that ``datasets`` saved with a column of images."""
    return is_arrow_folder(path) and any(
        isinstance(feature, dict) and feature.get("_type") == "Image"
        for feature in features_in(path).values()
    )


def read_arrow_folder(path: Path, convention: Convention, *, images: bool = False) -> Table:
    """Read a folder as a table; where it has splits, the column ``SPLIT`` names that of each row.

    Images are left out with a remark, unless they are asked for: they are bytes, or paths.

    Raises:
        DataError: a file is missing or damaged, or the splits have different columns.
    """
    rows = read_rows(path)
    if not images and rows.images:
        told = f"left out: {', '.join(map(repr, rows.images))}, as images are not read beside other columns"
        rows = rows._replace(columns=rows.columns.drop(columns=rows.images), images=[])
        rows.remarks.append(told)
    whole = [name for name in rows.columns if name in {*rows.classes, *rows.images, SPLIT}]
    table = from_objects(path, rows.columns.drop(columns=whole), convention)
    frame = pd.concat([table.frame, rows.columns[whole]], axis=1)[list(rows.columns)]
    table.remarks.extend(rows.remarks)
    return Table(**{**vars(table), "frame": frame})


def read_rows(path: Path) -> ArrowRows:
    """Read the rows of a folder, those of all splits with the column ``SPLIT``.

    Raises:
        DataError: a file is missing or damaged, or the splits have different columns.
    """
    if (path / _STATE).is_file():
        return _rows(path)
    parts: dict[str, ArrowRows] = {}
    remarks = list[str]()
    for name in _names(path):
        split = SPLIT_NAMES.get(name.casefold())
        if split is None:
            remarks.append(f"left out: the split {name!r}, which is none of training, validation and test")
            continue
        if split in parts:
            raise DataError(f"{path} has several splits for {split}: give the folder of one of them")
        rows = _rows(path / name)
        if split == "test" and parts and (hidden := _hidden(rows)):
            remarks.append(
                f"left out: the {len(rows.columns)} rows of the split {name!r}, which have no {hidden!r}"
            )
            continue
        parts[split] = rows
    if not parts:
        raise DataError(
            f"{path} has no split that is called train, validation or test, but {', '.join(_names(path))}"
        )
    if "test" not in parts and {"train", "valid"} <= set(parts):
        parts["test"] = parts.pop("valid")
        remarks.append("there is no split for the test: that for validation is taken for it")
    return _joined(path, parts, remarks)


def _joined(path: Path, parts: dict[str, ArrowRows], remarks: list[str]) -> ArrowRows:
    """Return the rows of splits, which must have the same columns."""
    first = next(iter(parts.values()))
    for rows in parts.values():
        if set(rows.columns) != set(first.columns):
            odd = sorted({*rows.columns} ^ {*first.columns})[0]
            raise DataError(f"{path}: column {odd!r} is not in all splits; the columns must be the same")
    if SPLIT in first.columns:
        raise DataError(f"{path}: column {SPLIT!r} must be called otherwise, as the folder has splits")
    columns = pd.concat([rows.columns for rows in parts.values()], ignore_index=True)[list(first.columns)]
    if len(parts) > 1:
        columns[SPLIT] = np.repeat(list(parts), [len(rows.columns) for rows in parts.values()]).astype(object)
    return first._replace(columns=columns, remarks=[*remarks, *first.remarks])


def _hidden(rows: ArrowRows) -> str | None:
    """Return the column of classes that no row has one of, as in the test of a contest; None if there is none."""
    return next((name for name in rows.classes if rows.columns[name].isna().all()), None)


def _rows(folder: Path) -> ArrowRows:
    features, table = _features(folder), _arrow(folder)
    columns: dict[str, Any] = {}
    found = ArrowRows(pd.DataFrame(), [], [], [])
    for name, array in zip(table.column_names, table.columns):
        _add(name, array, features.get(name), columns, found, folder)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))
    if not len(frame):
        raise DataError(f"{folder} has columns ({', '.join(table.column_names[:5])}) and no rows")
    return found._replace(columns=frame)


def _add(
    name: str, array: pa.ChunkedArray, feature: Any, columns: dict[str, Any], found: ArrowRows, folder: Path
) -> None:
    """Add a column, or those inside one of objects as ``name.inner``."""
    kind = feature.get("_type") if isinstance(feature, dict) else None
    if kind in _UNREAD:
        found.remarks.append(f"left out: {name!r}, as {_UNREAD[kind]} are not read")
    elif kind == "Image" and pa.types.is_struct(array.type):
        found.images.append(name)
        columns[name] = pd.Series([_image(value) for value in array.to_pylist()], dtype=object)
    elif kind == "ClassLabel" and feature.get("names"):
        found.classes.append(name)
        columns[name] = pd.Series(_named(array.to_pylist(), feature["names"], name, folder), dtype=object)
    elif pa.types.is_struct(array.type):
        inner = feature if isinstance(feature, dict) and kind is None else {}
        for part, one in zip(array.type, array.flatten()):
            _add(f"{name}.{part.name}", one, inner.get(part.name), columns, found, folder)
    elif _is_list(array.type):
        columns[name] = pd.Series(_lists(array.to_pylist(), feature, name, folder), dtype=object)
    else:
        columns[name] = array.to_pandas()


def _image(value: Mapping[str, Any] | None) -> bytes | str | None:
    return None if value is None else value.get("bytes") or value.get("path")


def _lists(values: list[Any], feature: Any, name: str, folder: Path) -> list[Any]:
    """Return lists, their classes by name."""
    inner = feature[0] if isinstance(feature, list) and feature else feature
    inner = inner.get("feature", inner) if isinstance(inner, dict) else None
    if not (isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and inner.get("names")):
        return values
    return [None if one is None else _named(one, inner["names"], name, folder) for one in values]


def _named(codes: list[int | None], names: list[str], column: str, folder: Path) -> list[str | None]:
    """Return classes by name; -1 stands for none."""
    odd = next((code for code in codes if code is not None and not -1 <= code < len(names)), None)
    if odd is not None:
        raise DataError(
            f"{folder}: column {column!r} holds the class {odd}, and has {len(names)} names of classes"
        )
    return [None if code is None or code < 0 else str(names[code]) for code in codes]


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _names(path: Path) -> list[str]:
    """Return the names of the splits of a folder."""
    held = _json(path / _DICT).get("splits")
    if not isinstance(held, list) or not held or not all(isinstance(name, str) for name in held):
        raise DataError(f"{path / _DICT} is damaged: it must hold the names of splits, got {str(held)[:40]}")
    return held


def _features(folder: Path) -> dict[str, Any]:
    held = _json(folder / _INFO).get("features")
    return held if isinstance(held, dict) else {}


def _arrow(folder: Path) -> pa.Table:
    """Return the columns of one data set."""
    state = _json(folder / _STATE)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder} was saved by an old version with a selection of rows: save it by a newer datasets"
        )
    try:
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (KeyError, TypeError):
        raise DataError(f"{folder / _STATE} is damaged: it does not name the files of the data") from None
    parts = [_stream(folder / name) for name in names]
    if not parts:
        raise DataError(f"{folder} holds no rows")
    try:
        return pa.concat_tables(parts)
    except pa.ArrowException as error:
        raise DataError(f"{folder}: its files have different columns: {str(error).splitlines()[0]}") from None


def _stream(file: Path) -> pa.Table:
    if not file.is_file():
        raise DataError(f"{file} is missing, which {file.parent / _STATE} names")
    try:
        with pa.memory_map(str(file)) as data:
            table = pa.ipc.open_stream(data).read_all()
            data.seek(data.size() - len(_END))
            whole = data.read() == _END
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file} is no readable file of Arrow: {str(error).splitlines()[0]}") from None
    if not whole:
        raise DataError(f"{file} is cut off before its end")
    return table


def _json(file: Path) -> dict[str, Any]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{file} is missing: the folder is none that datasets saved, or a part of one"
        ) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{file} is damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(held, dict):
        raise DataError(f"{file} is damaged: it must hold an object")
    return held
