"""Tasks from the user's files and folders.

==========================================  ===========================================================
``.csv .tsv .parquet`` with a date column   forecasting (``date`` names the column, ``group`` tells series apart)
the same without, or ``kind`` says so       classification or regression of each row; with ``group``, of each group
``.jsonl`` with a text and a label          classification or regression of texts; with a text only, language modelling
``.npz`` with ``x`` and ``y``               classification or regression of sequences
any other file, or a folder of them         byte language modelling
==========================================  ===========================================================
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from anyformer.errors import DataError
from anyformer.registry import near, nearest
from anyformer.spelling import option
from anyformer.tables.delimited import check_lines, decode
from anyformer.tables.formats import REFUSED, refused, text_format
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import content, suffix_of
from anyformer.tables.reading import Table, read_csv, read_jsonl, read_parquet
from anyformer.tables.separators import SEPARATORS, fields_of
from anyformer.tasks.base import Task, check_known
from anyformer.tasks.text import ByteTask, Document

_TABLES = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet, ".pq": read_parquet}
_TABLES |= {".jsonl": read_jsonl, ".ndjson": read_jsonl}
KINDS = ("forecast", "classify", "regress")
OPTIONS: dict[str, tuple[str, ...]] = {
    "tables": (
        *("kind", "date", "date_format", "dayfirst", "tz", "group", "keep", "category", "drop"),
        *("decimal", "thousands", "missing"),
    ),
    "tables that are forecast": ("context", "horizon", "quantiles"),
    "tables whose rows or groups are classified or regressed": ("text", "length"),
    ".npz files": ("kind", "axes"),
    "text": ("length", "raw"),
}
"""Options by the kind of data that they apply to."""


def open_data(
    path: str | os.PathLike[str],
    target: str | Sequence[str] | None = None,
    *,
    kind: Literal["forecast", "classify", "regress"] | None = None,
    date: str | Sequence[str] | None = None,
    date_format: str | None = None,
    dayfirst: bool | None = None,
    tz: str | None = None,
    group: str | Sequence[str] | None = None,
    text: str | None = None,
    keep: str | Sequence[str] | None = None,
    category: str | Sequence[str] | None = None,
    drop: str | Sequence[str] | None = None,
    context: int | None = None,
    horizon: int | None = None,
    quantiles: float | Sequence[float] | None = None,
    length: int | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    missing: str | Sequence[str] | None = None,
    axes: Literal["NTF", "NFT"] | None = None,
    raw: bool = False,
    seed: int = 0,
) -> Task:
    """Return the task made from a file or a folder.

    Args:
        path: the data.
        target: the column to predict, or several columns of numbers.
        kind: ``"forecast"``, ``"classify"`` or ``"regress"``; chosen from the data where not given.
        date: the column of dates, or the columns that make up a date; found where not given; ``"none"`` if there is
            none.
        date_format: how dates are written, as for ``strftime`` (see :mod:`anyformer.dates.style`), or ``excel``,
            ``unix_s``, ``unix_ms``, ``unix_us``, ``unix_ns`` for numbers; found where not given.
        dayfirst: whether 3/4 is in April, where the dates do not tell.
        tz: the time zone whose clocks the dates were read on, where they have none, as ``Europe/Berlin``: an hour that
            clocks skip or show twice is then neither a gap nor a repetition.
        group: the column, or columns, whose values identify series, or sequences in long format.
        text: the column of text; found where there are no columns of numbers.
        keep: columns of numbers that are inputs although they look like row numbers or ids.
        category: columns to read as categories, such as codes written as numbers; texts that repeat are found.
        drop: columns to leave out.
        context, horizon: of a forecast, in steps.
        quantiles: levels of quantiles to forecast in place of values, as 0.1, 0.5, 0.9.
        length: bytes in a window of text, or the most bytes taken of each text, or rows of each group.
        decimal: the decimal mark of numbers, "." or ","; found where not given.
        thousands: the thousands separator, one of ``, . '`` and a blank, or "" for none; found where not given.
        missing: texts that stand for a missing value, instead of NA, null, None and the like; "" for empty cells only.
        axes: of x with three axes: "NTF" for samples, time, features; "NFT" for samples, features, time.
        raw: read a file's bytes as they are, also if it is not UTF-8, has one long line, or is a table.
        seed: fixes the split and the order of training.

    Raises:
        DataError: the data cannot be used; one sentence names the file, what is wrong and where.
    """
    file = check_exists(path)
    if kind is not None and kind not in KINDS:
        raise ValueError(
            f"{option('kind')} must be one of {', '.join(map(repr, KINDS))}, got {kind!r}{near(kind, KINDS)}"
        )
    suffix, what = suffix_of(file), _kind_of(file)
    given: dict[str, Any] = {
        "kind": kind, "date": date, "group": group, "text": text, "keep": keep, "drop": drop, "context": context,
        "horizon": horizon, "length": length, "decimal": decimal, "thousands": thousands, "missing": missing,
        "axes": axes, "raw": raw or None, "target": target, "date_format": date_format, "dayfirst": dayfirst, "tz": tz,
        "category": category, "quantiles": [quantiles] if isinstance(quantiles, int | float) else quantiles,
    }  # fmt: skip
    if what == "text":
        _refuse(path, what, given)
        return _open_text(file, length, raw, seed)
    if suffix in REFUSED:
        raise DataError(f"{path}: {suffix} files are not read: {refused(file)}")
    if suffix == ".npz":
        from anyformer.tasks.arrays import open_arrays

        _refuse(path, what, given)
        return open_arrays(file, kind, axes, seed)
    from anyformer.tasks.frames import open_frame

    _refuse(path, what, given)
    marks = (
        None if missing is None else frozenset([missing] if isinstance(missing, str) else map(str, missing))
    )
    convention = Convention(decimal, thousands, marks)
    said = {
        name: given[name] for name in given if name not in ("decimal", "thousands", "missing", "axes", "raw")
    }
    return open_frame(_TABLES[suffix](file, convention), {**said, "convention": convention, "seed": seed})


def check_exists(path: str | os.PathLike[str]) -> Path:
    """Return the path; ``DataError`` with the nearest name if it does not exist."""
    file = Path(path)
    if not file.exists():
        raise DataError(f"there is no file or folder {os.fspath(path)!r}{_nearest_file(file)}")
    return file


def read_table(path: Path, convention: Convention) -> Table:
    """Return the rows of a table file; ``DataError`` if it is no table, or has no rows."""
    suffix = suffix_of(path)
    if suffix not in _TABLES or path.is_dir():
        raise DataError(
            f"{path}: rows are read from {', '.join(_TABLES)} files"
            + (f": {refused(path)}" if suffix in REFUSED else "")
        )
    table = _TABLES[suffix](path, convention)
    if table.frame.empty:
        raise DataError(f"{path} has columns ({', '.join(table.frame.columns[:5])}) and no rows")
    return table


def check_options(path: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Raise ``ValueError`` for names that are no options of data, with those that this file or folder takes."""
    known = {name for options in OPTIONS.values() for name in options}
    kind = _kind_of(Path(path))
    for name in [name for name in names if name not in known]:
        check_known(
            os.fspath(path),
            name,
            [one for one in inspect.signature(open_data).parameters if one in _taken(kind)],
        )


def _kind_of(file: Path) -> str:
    """Return the kind of data, as in :data:`OPTIONS`."""
    suffix = suffix_of(file)
    if file.is_dir() or suffix not in {*_TABLES, *REFUSED, ".npz"}:
        return "text"
    return ".npz files" if suffix == ".npz" else "tables"


def _taken(kind: str) -> set[str]:
    """Return the arguments that apply to a kind of data."""
    names = {name for part, names in OPTIONS.items() if part.startswith(kind) for name in names}
    return names | ({"target"} if kind == "tables" else set())


def _refuse(path: str | os.PathLike[str], what: str, given: dict[str, object]) -> None:
    """Raise ``ValueError`` if a given option does not apply to such data."""
    for name, value in given.items():
        if value is not None and name not in _taken(what):
            where = [kind for kind, names in OPTIONS.items() if name in names] or ["tables"]
            raise ValueError(
                f"{option(name)} does not apply to {what} ({os.fspath(path)}) but to {' and '.join(where)}, "
                f"got {value!r}"
            )


def _nearest_file(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f": there is no folder {str(folder)!r} either"
    names = sorted(entry.name for entry in folder.iterdir())[:1000]
    close = nearest(file.name, names)
    return close if "did you mean" in close else ""


def _open_text(path: Path, length: int | None, raw: bool, seed: int) -> ByteTask:
    files = [path] if path.is_file() else _files_of(path)
    documents = []
    if path.is_dir() and not raw:
        _check_no_tables(path, files)
    for file in files:
        data = content(file)
        if not raw:
            text = decode(file, data)
            if known := text_format(file, text):
                raise DataError(f"{file} holds {known[0]}, which is not read: {known[1]}")
            check_lines(file, data, f"give {option('raw', True)} where that is meant")
            if path.is_file():
                _check_no_table(file, text)
        documents.append(Document(str(file.relative_to(path)) if path.is_dir() else file.name, data))
    if not any(document.data.strip() for document in documents):
        raise DataError(
            f"{path} is empty" if path.is_file() else f"all {len(files)} files of {path} are empty"
        )
    return ByteTask(
        documents,
        name=path.stem or str(path),
        title=f"Predict the next byte of {path.name or path}.",
        length=length,
        seed=seed,
    )


def _check_no_table(path: Path, text: str) -> None:
    """Raise ``DataError`` if a file without the suffix of a table holds a table of values."""
    lines = [line.strip() for line in text[:100_000].split("\n")[1:-1] if line.strip()][:200]
    if len(lines) < 20:
        return
    for separator, width, share in (fields_of(lines, mark) for mark in (*SEPARATORS, None)):
        if width and share > (0.5 if separator and width > 1 else 0.95):
            raise DataError(
                f"{path} seems to be a table, with {width} value{'s' * (width > 1)} a line: save it as .csv, with a "
                f"first line that names the columns, or give {option('raw', True)} to read its bytes"
            )


def _check_no_tables(folder: Path, files: list[Path]) -> None:
    """Raise ``DataError`` if most files of a folder are tables by name, as their bytes are hardly meant as text."""
    tables = [file for file in files if suffix_of(file) in _TABLES]
    if 2 * sum(file.stat().st_size for file in tables) > sum(file.stat().st_size for file in files):
        raise DataError(
            f"the folder {folder} holds tables ({', '.join(file.name for file in tables[:3])}): give one of them, or "
            f"{option('raw', True)} to read their bytes as text"
        )


def _files_of(folder: Path) -> list[Path]:
    """Return the visible files below a folder; ``DataError`` if they are no texts."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    files = [
        file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"the folder {folder} holds no files")
    for file in files:
        suffix = suffix_of(file)
        if suffix in REFUSED or suffix in (".npz", ".parquet", ".pq"):
            reason = refused(file) if suffix in REFUSED else "give that file itself"
            raise DataError(f"the folder {folder} holds {file.name}, which is not text; {reason}")
    return files
