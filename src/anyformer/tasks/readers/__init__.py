"""Readers of the user's files and folders, one for each kind of data, in a file called by its id.

==========================================  ===========================================================
``.csv .tsv .parquet`` with a date column   forecasting (``date`` names the column, ``group`` tells series apart)
the same without, or ``kind`` says so       classification or regression of each row; with ``group``, of each group
a table with ``kind="next"``                the item of each group's next row, as in ratings and clicks
a table with ``kind="translate"``          the text of a column, written from that of another
``.conll .conllu .iob`` and the like        tagging of words; so ``.jsonl`` with tokens and tags, or with spans
``.jsonl`` with a text and a label          classification or regression of texts; with a text only, language modelling
``.npz`` with ``x`` and ``y``               classification or regression of sequences
a folder of folders of images               classification by folder
a table with a column of paths of images    classification or regression of images; so ``.npz`` with ``x`` of four axes
``.jsonl .json`` with nodes and edges       classification or regression of graphs, or of their nodes
a table of nodes, ``edges`` names theirs    classification or regression of the nodes of one graph
a folder saved by Hugging Face's datasets   any of these, by its columns, see :mod:`anyformer.tables.arrowfolders`
any other file, or a folder of them         byte language modelling
==========================================  ===========================================================
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from anyformer import user_code
from anyformer.registry import Registry, modules_in
from anyformer.spelling import option
from anyformer.tables.files import check_exists
from anyformer.tasks.base import Task, check_known
from anyformer.tasks.encoding import Encoding
from anyformer.tasks.readers._base import Reader

__all__ = [
    "Reader",
    "absolute_options",
    "check_options",
    "load_encoding",
    "open_path",
    "options_by_kind",
    "reader_named",
    "reader_of",
    "readers",
    "register_reader",
]

readers: Registry[type[Reader]] = Registry("reader", modules_in(__name__, __path__))
register_reader = readers.register


def open_path(
    path: str | os.PathLike[str],
    target: str | list[str] | None = None,
    *,
    reader: str | None = None,
    seed: int = 0,
    **options: Any,
) -> Task:
    """Return the task made from a file or a folder by the reader that takes it.

    Args:
        path: the data.
        target: the column to predict, or several columns of numbers.
        reader: the reader's id, or ``file.py:Name`` for one of your own; by default the one that takes the data.
        seed: fixes the split and the order of training.
        options: those of the reader's ``open``; None is not given.

    Raises:
        DataError: the data cannot be used; one sentence names the file, what is wrong and where.
        ValueError: an option does not apply to such data.
    """
    file = check_exists(path)
    told = {name: value for name, value in {"target": target, **options}.items() if value is not None}
    chosen = reader_of(file, told) if reader is None else reader_named(reader)
    if reader is not None and not chosen.takes(file):
        raise ValueError(f"{option('reader')}: {reader!r} does not take {os.fspath(path)}")
    taken, hints = chosen.options(), get_type_hints(chosen.open)
    for name, value in told.items():
        if name not in taken:
            others = [title for title, names in options_by_kind(targets=True).items() if name in names]
            raise ValueError(
                f"{option(name)} does not apply to {chosen.title} ({os.fspath(path)})"
                + (f" but to {' and '.join(others)}" if others else "")
                + f", got {value!r}"
            )
        if bool in (hints[name], *get_args(hints[name])) and not isinstance(value, bool):
            raise ValueError(f"{option(name)} must be true or false, got {value!r}")
    return chosen.open(file, **told, seed=seed)


def absolute_options(path: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of data in which further files have absolute paths, to be read from any folder."""
    named = options.get("reader")
    reader = reader_of(check_exists(path), options) if named is None else reader_named(named)
    found = {
        name: reader.absolute(Path(path), value) if name in reader.files and isinstance(value, str) else value
        for name, value in options.items()
    }
    if named is not None and user_code.MARK in named:
        found["reader"] = os.path.abspath(named)
    return found


def reader_of(path: Path, given: Collection[str] = ()) -> type[Reader]:
    """Return the reader that takes a file or folder: one that claims a given option, else the first by rank."""
    found = sorted((entry.target for entry in readers), key=lambda reader: (-reader.rank, reader.id))
    takers = [reader for reader in found if reader.takes(path)]  # text takes any
    return next((reader for reader in takers if {*reader.claims} & {*given}), takers[0])


def reader_named(name: str) -> type[Reader]:
    """Return the reader with an id, or ``file.py:Name``; ``ValueError`` if there is none."""
    found: object = readers.get(name).target
    if not (isinstance(found, type) and issubclass(found, Reader)):
        raise ValueError(f"{option('reader')} must name a subclass of Reader, got {name!r}")
    return found


def options_by_kind(*, targets: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the names of options by the kind of data, or part of it, that they apply to, ``target`` on demand."""
    found: dict[str, tuple[str, ...]] = {}
    for reader in sorted((entry.target for entry in readers), key=lambda reader: (reader.rank, reader.id)):
        found |= reader.by_section()
        if targets and "target" in reader.options():
            found[reader.title] = ("target", *found[reader.title])
    return found


def check_options(path: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for names that are no options of data, with those that this file or folder takes."""
    named = options.get("reader")
    own = [] if named is None else reader_named(named).options()
    known = {"reader", *own, *(name for names in options_by_kind().values() for name in names)}
    for name in [name for name in options if name not in known]:
        check_known(os.fspath(path), name, own or reader_of(check_exists(path)).options())


def load_encoding(fields: dict[str, Any], reader: str | None = None) -> Encoding:
    """Return the encoding with these fields, as ``model_dump`` gave them.

    Args:
        fields: the ``kind`` among them says of which class it is.
        reader: the reader that knows the class; by default all are asked.

    Raises:
        ValueError: there is no such class, or the fields do not fit it.
    """
    kind = fields.get("kind")
    for one in [entry.target for entry in readers] if reader is None else [reader_named(reader)]:
        for encoding in one.encodings:
            if encoding.model_fields["kind"].default == kind:
                return encoding.model_validate(fields)
    raise ValueError(f"the kind of an encoding must be that of a reader that is installed, got {kind!r}")
