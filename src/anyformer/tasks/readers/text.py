"""Text: files of any name, or a folder of them, as bytes to be continued."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.delimited import check_lines, decode
from anyformer.tables.files import FILE, READ, TEXT, read_texts, text_files
from anyformer.tables.formats import text_format
from anyformer.tables.packed import content, suffix_of
from anyformer.tables.separators import SEPARATORS, fields_of
from anyformer.tasks.base import SPLITS, Task
from anyformer.tasks.choices import check_kind
from anyformer.tasks.frames import open_frame
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.splits import COLUMN, WORDS
from anyformer.tasks.text import ByteTask, Document
from anyformer.tasks.token_text import language_model

CLASS = "class"
"""The target of a folder of classes."""


@register_reader("text")
class Text(Reader):
    """Files that no other reader takes, and folders."""

    title = "text"
    files = ("tokenizer",)
    rank = -2

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True."""
        return True

    @staticmethod
    def open(
        path: Path,
        *,
        kind: Literal["classify"] | None = None,
        length: int | None = None,
        tokenizer: str | None = None,
        raw: bool = False,
        seed: int = 0,
    ) -> Task:
        """Return the task of predicting each byte from those before it, or the class of each file of a folder.

        Args:
            path: the data.
            kind: ``"classify"`` for a folder in which each subfolder is a class and each file a text of it; the classes
                may lie in folders called train, valid and test.
            length: bytes, or tokens, in a window, or the most of them taken of each text.
            tokenizer: a file tokenizer.json of Hugging Face, by whose tokens texts are read in place of bytes.
            raw: read a file's bytes as they are, also if it is not UTF-8, has one long line, or is a table.
            seed: fixes the split and the order of training.
        """
        check_kind(kind, ("classify",))
        if tokenizer is not None and raw:
            raise ValueError(f"{option('tokenizer')} does not apply to raw bytes, which need not be text")
        read = _open if kind is None else _classes
        return read(path, length, tokenizer, raw, seed)


def _classes(path: Path, length: int | None, tokenizer: str | None, raw: bool, seed: int) -> Task:
    """Return the task of telling the subfolder of each file."""
    if raw:
        raise ValueError(f"{option('raw')} does not apply to a folder of classes, whose texts are UTF-8")
    if path.is_file():
        raise DataError(
            f"{path}: {option('kind', 'classify')} needs a folder with a subfolder for each class"
        )
    table = read_texts(path)
    places = [Path(name).parts for name in table.frame[FILE]]
    if alone := [parts[0] for parts in places if len(parts) == 1]:
        raise DataError(
            f"{path}: {option('kind', 'classify')} needs each file in the subfolder of its class, and {alone[0]!r} is "
            "in none"
        )
    parted = sum(len(parts) == 3 and parts[0].casefold() in WORDS for parts in places) * 2 > len(places)
    fits = [
        len(parts) == 3 and parts[0].casefold() in WORDS if parted else len(parts) == 2 for parts in places
    ]
    if not all(fits):
        raise DataError(
            f"{path}: {option('kind', 'classify')} needs each file in the subfolder of its class, or in that of its "
            f"class in one of {', '.join(SPLITS)}, got {'/'.join(places[fits.index(False)])!r}"
        )
    frame = table.frame.drop(columns=FILE).assign(**{CLASS: [parts[-2] for parts in places]})
    if parted:
        frame[COLUMN] = [parts[0] for parts in places]
    given = {"target": CLASS, "group": None, "keep": None, "category": None, "drop": None, "known": None}
    task = open_frame(
        replace(table, frame=frame),
        {
            **given,
            "text": TEXT,
            "kind": "classify",
            "split": COLUMN if parted else None,
            "length": length,
            "tokenizer": tokenizer,
            "seed": seed,
        },
    )
    assert isinstance(task, Task)
    return task


def _open(path: Path, length: int | None, tokenizer: str | None, raw: bool, seed: int) -> ByteTask:
    files = [path] if path.is_file() else text_files(path)
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
    parts = [Path(document.name).parts for document in documents]
    folders = sorted({part[0] for part in parts if len(part) == 2})
    remarks = []
    if len(folders) > 1 and all(len(part) == 2 for part in parts):
        remarks.append(
            f"each file is in one of {len(folders)} subfolders; {option('kind', 'classify')} takes them for classes"
        )
    return language_model(
        documents,
        tokenizer,
        name=path.stem or str(path),
        what=str(path.name or path),
        length=length,
        seed=seed,
        remarks=remarks,
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
