"""Text: files of any name, or a folder of them, as bytes to be continued."""

from __future__ import annotations

from pathlib import Path

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.delimited import check_lines, decode
from anyformer.tables.files import READ
from anyformer.tables.formats import REFUSED, refused, text_format
from anyformer.tables.packed import content, suffix_of
from anyformer.tables.separators import SEPARATORS, fields_of
from anyformer.tasks.base import Task
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.text import ByteTask, Document


@register_reader("text")
class Text(Reader):
    """Files that no other reader takes, and folders."""

    title = "text"
    rank = -2

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True."""
        return True

    @staticmethod
    def open(path: Path, *, length: int | None = None, raw: bool = False, seed: int = 0) -> Task:
        """Return the task of predicting each byte from those before it.

        Args:
            path: the data.
            length: bytes in a window.
            raw: read a file's bytes as they are, also if it is not UTF-8, has one long line, or is a table.
            seed: fixes the split and the order of training.
        """
        return _open(path, length, raw, seed)


def _open(path: Path, length: int | None, raw: bool, seed: int) -> ByteTask:
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
    tables = [file for file in files if suffix_of(file) in READ]
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
