"""Tagged tokens: columns as CoNLL has them; JSONL, and folders of ``datasets``, with tags of words or with spans."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.arrowfolders import check_one_split, example_row, is_arrow_folder
from anyformer.tables.files import check_exists
from anyformer.tables.packed import opened, suffix_of
from anyformer.tasks.base import SPLITS, Split, Task, check_integer
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.splits import check_splits
from anyformer.tasks.tags.columns import SUFFIXES, read_columns
from anyformer.tasks.tags.encoding import TagEncoding
from anyformer.tasks.tags.jsonl import looks_tagged, read_records
from anyformer.tasks.tags.task import LENGTH, TaggedTask

_LOOKED_AT = 200
"""Number of lines by which a file is recognised."""
_BIO = re.compile(r"O|[BIESLUM]-\S+")


@register_reader("tagged")
class Tagged(Reader):
    """Sentences whose words have tags."""

    title = "tagged words"
    files = ("valid", "test")
    encodings = (TagEncoding,)

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True for files with a suffix of CoNLL's, and others whose first lines are of these forms."""
        if not path.is_file():
            return is_arrow_folder(path) and looks_tagged(example_row(path))
        suffix = suffix_of(path)
        if suffix in SUFFIXES:
            return True
        if suffix in (".jsonl", ".ndjson"):
            return _holds_records(path)
        return suffix in ("", ".txt", ".tsv") and _holds_columns(path)

    @staticmethod
    def open(
        path: Path,
        target: str | Sequence[str] | None = None,
        *,
        text: str | None = None,
        length: int | None = None,
        valid: str | None = None,
        test: str | None = None,
        seed: int = 0,
    ) -> Task:
        """Return the task of tagging the words of a file.

        Args:
            path: the data.
            target: the column of tags, by its number from 1 or its name; the last where not given, in CoNLL-U the parts
                of speech. In JSONL, the field of tags or spans.
            text: the column of words; the first where not given, or the second if that numbers the words. In JSONL, the
                field of words, or of the text.
            length: the most bytes of a sentence; longer ones are read in pieces. 512 by default.
            valid, test: files with the sentences of these splits; the data is then for training.
            seed: fixes the split and the order of training.
        """
        check_integer("length", LENGTH if length is None else length, low=8)
        if target is not None and not isinstance(target, str | int):
            raise ValueError(f"{option('target')} must name one column of tags, got {target!r}")
        files: dict[Split, str | None] = {"valid": valid, "test": test}
        check_splits(None, files, path)
        read = _records if is_arrow_folder(path) or suffix_of(path) in (".jsonl", ".ndjson") else _columns
        found, encoding = read(path, text, target)
        for split, file in files.items():
            if file is not None:
                found.add(split, read(_another(file, path, split), text, target, encoding)[0])
        return TaggedTask(
            found.words,
            found.tags,
            name=path.stem,
            documents=found.documents,
            split=found.split if test is not None or {*found.split} != {"train"} else None,
            encoding=encoding,
            length=LENGTH if length is None else length,
            seed=seed,
            remarks=found.remarks,
        )


@dataclass
class _Sentences:
    """Sentences of one or more files, and the split and the document of each; None if a file marks no documents."""

    words: list[list[str]]
    tags: list[list[str]]
    documents: list[int] | None
    remarks: list[str]
    split: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.split = ["train"] * len(self.words)

    def add(self, split: Split, more: _Sentences) -> None:
        """Add those of another file."""
        self.words += more.words
        self.tags += more.tags
        if self.documents is not None and more.documents is not None:
            start = max(self.documents) + 1
            self.documents = [*self.documents, *(start + document for document in more.documents)]
        else:
            self.documents = None
        self.remarks += [f"{option(split)}: {remark}" for remark in more.remarks[1:]]
        self.split += [split] * len(more.words)


def _another(file: str, path: Path, split: Split) -> Path:
    """Return the path of a split's file."""
    found = check_exists(file)
    if found.resolve() == path.resolve():
        raise DataError(f"{option(split)} must name another file than the data, got {file!r}")
    return found


def _columns(
    path: Path, text: str | None, target: str | None, first: TagEncoding | None = None
) -> tuple[_Sentences, TagEncoding]:
    """Read a file of columns; those of other splits must have as many as the ``first``."""
    file = read_columns(path)
    if file.width < 2:
        raise DataError(f"{path} has one column: tags are needed beside the words, behind a tab or blanks")
    if first is not None and file.width != first.width:
        raise DataError(f"{path} has {file.width} columns, where the training data has {first.width}")
    word = file.default_word() if text is None else file.place("text", text)
    tag = file.default_tag() if target is None else file.place("target", target)
    if first is not None:
        word, tag = first.word, first.tag
    if word == tag:
        raise DataError(
            f"{option('target')}: the tags of {path} cannot be in the column of its words, {word + 1}"
        )
    others = f"; {option('text')} and {option('target')} name others" if file.width > 2 else ""
    said = f"the words are in {file.called(word)} and the tags in {file.called(tag)} of {file.width}{others}"
    name = file.names[tag] if file.names else "tag"
    encoding = TagEncoding(
        form="columns", names=[], length=0, target=name, word=word, tag=tag, width=file.width
    )
    documents = file.documents if len(set(file.documents)) > 1 else None
    found = _Sentences(file.column(word), file.column(tag), documents, [said, *file.remarks])
    return found, encoding


def _records(
    path: Path, text: str | None, target: str | None, first: TagEncoding | None = None
) -> tuple[_Sentences, TagEncoding]:
    """Read a JSONL file or a folder; those of other splits must have the fields of the ``first``."""
    if first is None:
        held = read_records(path, text, target)
    else:
        assert first.form != "columns"
        check_one_split(path)
        held = read_records(path, first.text, first.target, form=first.form)
    tags, words = held.tags(), held.form == "tokens"
    what, asked = ("words are", "tags") if words else ("text is", "spans")
    said = f"the {what} in {held.text!r}, the {asked} in {held.target!r}"
    numbers = words and all(isinstance(tag, int) for record in held.records for tag in record[held.target])
    encoding = TagEncoding(
        form=held.form, names=[], length=0, text=held.text, target=held.target, numbers=numbers
    )
    found = _Sentences(held.words, tags, None, [said, *held.remarks])
    if held.splits is not None:
        found.split = held.splits
        counts = [f"{held.splits.count(split)} sentences {split}" for split in SPLITS]
        found.remarks.append(f"the splits are as given: {', '.join(counts)}")
    return found, encoding


def _first_lines(path: Path) -> list[str]:
    try:
        with opened(path) as file:
            return [line.decode("utf-8-sig") for line in islice(file, _LOOKED_AT)]
    except (OSError, EOFError, ValueError):
        return []


def _holds_records(path: Path) -> bool:
    """True if the first lines are records of tagged words, and one has any."""
    try:
        records = [json.loads(line) for line in _first_lines(path)[:20] if line.strip()]
    except (ValueError, RecursionError):
        return False
    return all(map(looks_tagged, records)) and any(
        any(isinstance(value, list) and value for value in record.values()) for record in records
    )


def _holds_columns(path: Path) -> bool:
    """True if the first lines have a word and a tag of spans each, with blank lines between sentences."""
    lines = [line.strip() for line in _first_lines(path)]
    told = [re.split(r"[ \t]+", line) for line in lines if line and not line.startswith("-DOCSTART-")]
    widths = {len(columns) for columns in told}
    return (
        len(told) >= 2
        and len(widths) == 1
        and min(widths) > 1
        and all(_BIO.fullmatch(columns[-1]) for columns in told)
        and "" in lines[:-1]
    )
