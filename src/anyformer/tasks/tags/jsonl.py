"""Records of tagged texts, of JSONL or a folder of ``datasets``: words with a tag each, or a text with spans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from anyformer.errors import DataError
from anyformer.metrics import Span
from anyformer.registry import near
from anyformer.spelling import option
from anyformer.tables.arrowfolders import is_arrow_folder, read_rows
from anyformer.tables.columns import SPLIT
from anyformer.tables.delimited import decode
from anyformer.tables.packed import content

Form = Literal["tokens", "spans"]
_WORDS, _TAGS = ("tokens", "words"), ("tags", "ner_tags", "pos_tags", "chunk_tags", "labels")
_TEXTS, _SPANS = ("text", "sentence"), ("spans", "entities", "label", "labels")
_WORD = re.compile(r"\w+|[^\w\s]")
_TYPES = ("label", "type", "tag")
_PLAIN = (str, int, float, bool, list, dict, type(None))


@dataclass
class TaggedRecords:
    """Records of a file or folder with their words.

    Attributes:
        path: the file.
        form: words with tags, or a text with spans.
        text, target: the fields of these.
        records: all of the file, in order.
        lines: of the records, or their rows, from 1.
        words: of each record.
        places: for spans, start and end of each word in its text.
        remarks: about the file.
        splits: the split of each record, in a folder that has several.
    """

    path: Path
    form: Form
    text: str
    target: str
    records: list[dict[str, Any]]
    lines: list[int]
    words: list[list[str]] = field(default_factory=list)
    places: list[list[tuple[int, int]]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    splits: list[str] | None = None

    @property
    def unit(self) -> str:
        """The word for the place of a record in messages."""
        return "row" if is_arrow_folder(self.path) else "line"

    def tags(self) -> list[list[str]]:
        """Return the tags of each record; ``DataError`` if one has none, or others than words."""
        if self.form == "spans":
            return self._tags_of_spans()
        found = []
        for number, record, words in zip(self.lines, self.records, self.words):
            tags = record.get(self.target)
            if not isinstance(tags, list) or not _is_tags(tags) or len(tags) != len(words):
                got = f"{len(tags)} tags" if isinstance(tags, list) else repr(tags)
                raise DataError(
                    f"{self.path}: {self.unit} {number}: {self.target!r} must be a list of tags, one for each of the "
                    f"{len(words)} words in {self.text!r}, got {got[:60]}"
                )
            found.append([str(tag) for tag in tags])
        return found

    def _tags_of_spans(self) -> list[list[str]]:
        found, moved, lost = [], 0, 0
        for number, record, places in zip(self.lines, self.records, self.places):
            tags = ["O"] * len(places)
            for start, end, kind in self._spans(number, record):
                inside = [i for i, (first, last) in enumerate(places) if first < end and last > start]
                if not inside or any(tags[i] != "O" for i in inside):
                    lost += 1
                    continue
                moved += places[inside[0]][0] != start or places[inside[-1]][1] != end
                tags[inside[0]] = f"B-{kind}"
                for i in inside[1:]:
                    tags[i] = f"I-{kind}"
            found.append(tags)
        if moved:
            self.remarks.append(
                f"spans that begin or end inside a word or at a blank, and take whole words: {moved}"
            )
        if lost:
            self.remarks.append(f"spans left out, as they overlap an earlier one or hold no word: {lost}")
        return found

    def _spans(self, number: int, record: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and type of each span of a record, by start."""
        given, text = record.get(self.target), record[self.text]
        read = [_span(one) for one in given] if isinstance(given, list) else [None]
        for one in read:
            if one is None or not 0 <= one[0] < one[1] <= len(text):
                raise DataError(
                    f"{self.path}: {self.unit} {number}: {self.target!r} must be a list of spans with start, end and "
                    f"label inside the {len(text)} characters of {self.text!r}, got {str(given)[:80]}"
                )
        yield from sorted(one for one in read if one is not None)

    def written(self, record: int, spans: Sequence[Span], tags: Sequence[str]) -> list[Any]:
        """Return the tags or the spans of a record as the file has them."""
        if self.form == "tokens":
            return list(tags)
        places = self.places[record]
        return [{"start": places[a][0], "end": places[b][1], "label": kind} for a, b, kind in spans]


def looks_tagged(record: object) -> bool:
    """True if a record holds words and tags, or a text and spans, in fields of the usual names."""
    return isinstance(record, dict) and _fields_of(record, None, None) is not None


def read_records(
    path: Path, text: str | None, target: str | None, *, form: Form | None = None
) -> TaggedRecords:
    """Read the records of a JSONL file or a folder of ``datasets``; the fields are found where they are not given.

    Args:
        path: the file.
        text, target: the fields.
        form: of new data, which may lack the target.

    Raises:
        DataError: a line is no such record.
    """
    records, lines, splits, remarks = _rows(path) if is_arrow_folder(path) else _lines(path)
    if form is None:
        form, text, target = _fields_of(records[0], text, target) or _no_fields(
            path, records[0], text, target
        )
    assert text is not None and target is not None
    held = TaggedRecords(path, form, text, target, records, lines, remarks=remarks, splits=splits)
    for number, record in zip(lines, records):
        value = record.get(text)
        if form == "spans" and isinstance(value, str):
            held.places.append([match.span() for match in _WORD.finditer(value)])
            held.words.append([value[start:end] for start, end in held.places[-1]])
        elif form == "tokens" and isinstance(value, list) and _is_words(value):
            held.words.append(value)
        else:
            what = "a text" if form == "spans" else "a list of words"
            raise DataError(f"{path}: {held.unit} {number}: {text!r} must be {what}, got {str(value)[:40]!r}")
    return held


_Read = tuple[list[dict[str, Any]], list[int], list[str] | None, list[str]]
"""Records, their lines or rows, their splits if there are several, and remarks."""


def _rows(path: Path) -> _Read:
    rows = read_rows(path)
    frame = rows.columns.drop(columns=[SPLIT, *rows.images], errors="ignore")
    splits = rows.columns[SPLIT].tolist() if SPLIT in rows.columns else None
    others = [name for name in frame if not all(isinstance(one, _PLAIN) for one in frame[name])]
    told = [f"left out: {', '.join(map(repr, others))}, which JSON does not hold"] if others else []
    records = frame.drop(columns=others).astype(object).to_dict("records")
    return records, list(range(1, len(frame) + 1)), splits, [*rows.remarks, *told]


def _lines(path: Path) -> _Read:
    records, lines = list[dict[str, Any]](), list[int]()
    for number, line in enumerate(decode(path, content(path)).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}: line {number} must hold an object, got {line[:40]!r}")
        records.append(record)
        lines.append(number)
    if not records:
        raise DataError(f"{path} is empty")
    return records, lines, None, []


def _fields_of(record: dict[str, Any], text: str | None, target: str | None) -> tuple[Form, str, str] | None:
    """Return the form and the fields of words or text, and of tags or spans; None if there are none such."""
    for words in (text,) if text else _WORDS:
        if _is_words(record.get(words)):
            size = len(record[words])
            for tags in (target,) if target else _TAGS:
                if _is_tags(record.get(tags)) and len(record[tags]) == size:
                    return "tokens", words, tags
    for name in (text,) if text else _TEXTS:
        if isinstance(record.get(name), str):
            for spans in (target,) if target else _SPANS:
                given = record.get(spans)
                if isinstance(given, list) and all(_span(one) for one in given):
                    return "spans", name, spans
    return None


def _no_fields(path: Path, record: dict[str, Any], text: str | None, target: str | None) -> NoReturn:
    for name, given in (("text", text), ("target", target)):
        if given is not None and given not in record:
            raise DataError(f"{option(name)}: {path} has no field {given!r}{near(given, record)}")
    raise DataError(
        f"{path}: no field of words with one of as many tags, or of a text with one of spans, was found among "
        f"{', '.join(map(repr, record))}: name them by {option('text')} and {option('target')}"
    )


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _is_tags(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(tag, str | int) and not isinstance(tag, bool) for tag in value
    )


def _span(value: object) -> tuple[int, int, str] | None:
    """Return start, end and type of a span written as an object or a list; None if it is none."""
    if isinstance(value, dict):
        kind = next((value[name] for name in _TYPES if name in value), None)
        value = [value.get("start"), value.get("end"), kind]
    if not isinstance(value, list) or len(value) != 3:
        return None
    start, end, kind = value
    numbers = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
    return (start, end, kind) if numbers and isinstance(kind, str) and kind else None
