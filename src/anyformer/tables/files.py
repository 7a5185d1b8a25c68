"""Files that hold tables, by their names."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from anyformer.errors import DataError
from anyformer.registry import nearest
from anyformer.tables.arrowfolders import check_one_split, is_arrow_folder, read_arrow_folder
from anyformer.tables.delimited import decode
from anyformer.tables.formats import REFUSED, refused
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import content, suffix_of
from anyformer.tables.reading import Table, read_csv, read_jsonl, read_parquet

READ = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet, ".pq": read_parquet}
READ |= {".jsonl": read_jsonl, ".ndjson": read_jsonl}
"""How a table is read, by the file's suffix."""
FILE, TEXT = "file", "text"
"""Columns of the table of a folder of texts."""


def check_exists(path: str | os.PathLike[str]) -> Path:
    """Return the path; ``DataError`` with the nearest name if it does not exist."""
    file = Path(path)
    if not file.exists():
        raise DataError(f"there is no file or folder {os.fspath(path)!r}{_nearest_file(file)}")
    return file


def is_table(path: Path) -> bool:
    """True for files with the suffix of a table, and for folders of Hugging Face's ``datasets``."""
    return is_arrow_folder(path) or suffix_of(path) in READ


def read_table(path: Path, convention: Convention, *, splits: bool = False, images: bool = False) -> Table:
    """Return the rows of a table file, or of a folder of Hugging Face's ``datasets``, there with ``images`` if asked.

    Raises:
        DataError: it is no table, or has no rows; or it has several splits, unless these are asked for by ``splits``.
    """
    if is_arrow_folder(path):
        if not splits:
            check_one_split(path)
        return read_arrow_folder(path, convention, images=images)
    suffix = suffix_of(path)
    if suffix not in READ or path.is_dir():
        reason = f": {refused(path)}" if suffix in REFUSED else ""
        raise DataError(f"{path}: rows are read from {', '.join(READ)} files{reason}")
    table = READ[suffix](path, convention)
    if table.frame.empty:
        raise DataError(f"{path} has columns ({', '.join(table.frame.columns[:5])}) and no rows")
    return table


def _nearest_file(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f": there is no folder {str(folder)!r} either"
    names = sorted(entry.name for entry in folder.iterdir())[:1000]
    close = nearest(file.name, names)
    return close if "did you mean" in close else ""


def text_files(folder: Path) -> list[Path]:
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


def read_texts(path: Path) -> Table:
    """Return a table with a row for each file of text below a folder: its place there, and its text.

    Raises:
        DataError: a file is no text.
    """
    files = [path] if path.is_file() else text_files(path)
    texts = [decode(file, content(file)).strip() or None for file in files]
    names = [file.name if path.is_file() else file.relative_to(path).as_posix() for file in files]
    return Table(path, pd.DataFrame({FILE: names, TEXT: texts}, dtype=object))
