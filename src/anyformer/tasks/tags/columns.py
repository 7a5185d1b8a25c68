"""Files of columns, a word a line and a blank line behind each sentence, as CoNLL's shared tasks have them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from anyformer.errors import DataError
from anyformer.registry import near
from anyformer.spelling import option
from anyformer.tables.delimited import decode
from anyformer.tables.packed import content, suffix_of

SUFFIXES = (".conll", ".conllu", ".conllup", ".iob", ".iob2", ".bio", ".bioes", ".iobes", ".bilou", ".bmes")
UNIVERSAL = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
"""Columns of CoNLL-U (Universal Dependencies, version 2)."""
_DOCUMENT = "-DOCSTART-"
_NAMES = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_PARTS = re.compile(r"\d+[-.]\d+")


@dataclass
class ColumnFile:
    """The words of a file of columns.

    Attributes:
        path: the file.
        lines: all lines, without their ends.
        end: of a line.
        separator: of columns: a tab, or any blanks.
        width: number of columns.
        names: of the columns, if the file tells them.
        rows: for each word its line, from 0, and its columns.
        sentences: for each sentence the first word, and the one after the last.
        documents: the document of each sentence, from 0; 0 for all if none are marked.
        remarks: about the file.
    """

    path: Path
    lines: list[str]
    end: str
    separator: str
    width: int
    names: list[str]
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    sentences: list[tuple[int, int]] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def column(self, place: int) -> list[list[str]]:
        """Return a column, from 0, by sentence."""
        values = [columns[place] for _, columns in self.rows]
        return [values[start:end] for start, end in self.sentences]

    def place(self, name: str, given: str | int) -> int:
        """Return the column, from 0, that the option ``name`` gives by its number, from 1, or by its name."""
        text = str(given).strip()
        if re.fullmatch(r"-?\d+", text):
            number = int(text)
            if not 1 <= number <= self.width:
                raise DataError(
                    f"{option(name)} must be a column from 1 to {self.width} of {self.path}, got {text}"
                )
            return number - 1
        folded = [one.casefold() for one in self.names]
        if text.casefold() not in folded:
            known = (
                f"the columns are {', '.join(self.names)}{near(text, self.names)}"
                if self.names
                else f"its columns have no names, only numbers from 1 to {self.width}"
            )
            raise DataError(f"{option(name)}: {self.path} has no column {given!r}; {known}")
        return folded.index(text.casefold())

    def called(self, place: int) -> str:
        """Return a column, from 0, in words."""
        return f"column {place + 1}" + (f" ({self.names[place]})" if self.names else "")

    def default_word(self) -> int:
        """Return the column that words are in by default: the first, but one of the words' numbers."""
        if self.names:
            folded = [name.casefold() for name in self.names]
            return folded.index("form") if "form" in folded else 0
        counted = all(
            self.rows[start + step][1][0] == str(step + first)
            for start, end in self.sentences[:100]
            for first in (int(self.rows[start][1][0] != "0"),)
            for step in range(end - start)
        )
        return int(counted and self.width > 1)

    def default_tag(self) -> int:
        """Return the column that tags are in by default: the last; of CoNLL-U, that of parts of speech."""
        folded = [name.casefold() for name in self.names]
        return folded.index("upos") if "upos" in folded else self.width - 1


def read_columns(path: Path) -> ColumnFile:
    """Read a file of columns.

    Lines that begin with ``-DOCSTART-`` begin a document. Lines that begin with ``#`` are comments, unless they have as
    many columns as words have, and a last one that other words have too. In CoNLL-U, ranges of words (``1-2``)
    and empty nodes (``1.1``) are left out.

    Raises:
        DataError: it holds no words, or lines with other numbers of columns.
    """
    text = decode(path, content(path))
    lines = [line.rstrip("\r") for line in text.split("\n")]
    end = "\r\n" if 2 * text.count("\r\n") > len(lines) else "\n"
    told = [line for line in lines if line.strip(" \t") and not line.startswith((_DOCUMENT, "#"))]
    told = told or [line for line in lines if line.startswith("#")]
    if not told:
        raise DataError(f"{path} holds no words")
    separator = "\t" if 2 * sum("\t" in line for line in told) >= len(told) else " "
    width = Counter(len(_fields(line, separator)) for line in told).most_common(1)[0][0]
    names = next((match[1].split() for line in lines if (match := _NAMES.match(line))), [])
    if not names and suffix_of(path) == ".conllu":
        names = list(UNIVERSAL)
    lasts = Counter(_fields(line, separator)[-1] for line in told)
    found = ColumnFile(path, lines, end, separator, width, names if len(names) == width else [])
    _read(found, set(lasts) if 2 * len(lasts) < len(told) else None)
    if not found.rows:
        raise DataError(f"{path} holds no words")
    return found


def _read(found: ColumnFile, lasts: set[str] | None) -> None:
    """Read the lines; ``lasts`` is what words have in the last column, if that repeats itself."""
    start = document = comments = parts = 0
    for number, line in enumerate([*found.lines, ""]):
        columns = _fields(line, found.separator) if line.strip(" \t") else []
        begins = bool(columns) and columns[0] == _DOCUMENT
        if not columns or begins:
            if len(found.rows) > start:
                found.sentences.append((start, len(found.rows)))
                found.documents.append(document)
                start = len(found.rows)
            document += begins
        elif line.startswith("#") and (
            len(columns) != found.width or found.names or (lasts is not None and columns[-1] not in lasts)
        ):
            comments += 1
            document += bool(re.match(r"#\s*newdoc\b", line))
        elif found.names and _PARTS.fullmatch(columns[0]):
            parts += 1
        elif len(columns) != found.width:
            between = "tabs" if found.separator == "\t" else "blanks"
            raise DataError(
                f"{found.path}: line {number + 1} has {len(columns)} column{'s' * (len(columns) != 1)}, where most "
                f"have {found.width} (separated by {between}): {line[:60]!r}"
            )
        else:
            found.rows.append((number, columns))
    if parts:
        found.remarks.append(f"ranges of words and empty nodes, such as 1-2 and 1.1, left out: {parts}")
    if comments:
        found.remarks.append(f"lines that begin with #, taken for comments: {comments}")


def _fields(line: str, separator: str) -> list[str]:
    return line.split("\t") if separator == "\t" else re.split(r"[ \t]+", line.strip(" \t"))
