"""Files that hold tables, by their names."""

from __future__ import annotations

import os
from pathlib import Path

from anyformer.errors import DataError
from anyformer.registry import nearest
from anyformer.tables.formats import REFUSED, refused
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import suffix_of
from anyformer.tables.reading import Table, read_csv, read_jsonl, read_parquet

READ = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet, ".pq": read_parquet}
READ |= {".jsonl": read_jsonl, ".ndjson": read_jsonl}
"""How a table is read, by the file's suffix."""


def check_exists(path: str | os.PathLike[str]) -> Path:
    """Return the path; ``DataError`` with the nearest name if it does not exist."""
    file = Path(path)
    if not file.exists():
        raise DataError(f"there is no file or folder {os.fspath(path)!r}{_nearest_file(file)}")
    return file


def read_table(path: Path, convention: Convention) -> Table:
    """Return the rows of a table file; ``DataError`` if it is no table, or has no rows."""
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
