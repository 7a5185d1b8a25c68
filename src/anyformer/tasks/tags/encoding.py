"""The encoding of new sentences, and of tags as the file of the sentences has them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from anyformer.errors import DataError
from anyformer.metrics import spans_of
from anyformer.tables.arrowfolders import check_one_split
from anyformer.tables.files import READ
from anyformer.tables.packed import is_packed, suffix_of
from anyformer.tables.writing import write_table
from anyformer.tasks.batch import Batch
from anyformer.tasks.encoding import Encoding
from anyformer.tasks.new_data import Unseen
from anyformer.tasks.tags.columns import ColumnFile, read_columns
from anyformer.tasks.tags.jsonl import TaggedRecords, read_records
from anyformer.tasks.tags.pieces import Pieces


@dataclass(frozen=True)
class UntaggedSentences(Unseen):
    """Sentences without tags.

    Its batch is the first piece alone.

    Attributes:
        pieces: the sentences.
        source: the file that they are from.
    """

    pieces: Pieces | None = None
    source: ColumnFile | TaggedRecords | None = None

    def parts(self, batch_size: int) -> Iterator[Batch]:
        """Yield all pieces in batches, each as long as its longest."""
        assert self.pieces is not None
        for start in range(0, len(self.pieces), batch_size):
            yield self.pieces.batch(np.arange(start, min(start + batch_size, len(self.pieces))))


class TagEncoding(Encoding):
    """The encoding of sentences.

    Attributes:
        form: of the file: columns, or JSONL of words with tags or of a text with spans.
        names: of the tags.
        length: the most bytes of a piece.
        text, target: the fields of words or text, and of tags or spans; for columns the name of the tags' column.
        word, tag, width: for columns, the place of words and of tags, from 0, and the number of columns.
        numbers: the tags are numbers in the file.
    """

    kind: Literal["tagged"] = "tagged"
    form: Literal["columns", "tokens", "spans"]
    names: list[str]
    length: int
    text: str = ""
    target: str = "tag"
    word: int = 0
    tag: int = 0
    width: int = 0
    numbers: bool = False

    def read(self, path: Path) -> UntaggedSentences:
        """Return the sentences in a file of the form that the model was trained on; tags are not needed.

        Raises:
            DataError: it is of another form.
        """
        if self.form == "columns":
            if suffix_of(path) in READ and suffix_of(path) != ".tsv":
                raise DataError(
                    f"{path}: the model was trained on columns of words, and takes a file as that one was"
                )
            file = read_columns(path)
            words = file.column(self._word(file))
            source: ColumnFile | TaggedRecords = file
        else:
            check_one_split(path)
            source = read_records(path, self.text, self.target, form=self.form)
            words = source.words
        pieces = Pieces.of(words, self.length)
        if not len(pieces):
            raise DataError(f"{path} holds no words")
        names = pd.DataFrame(
            {"sentence": np.repeat(np.arange(1, len(words) + 1), [len(one) for one in words])}
        )
        remarks = [*source.remarks, *pieces.remarks(self.length)]
        return UntaggedSentences(pieces.batch(np.arange(1)), names, remarks, pieces=pieces, source=source)

    def _word(self, file: ColumnFile) -> int:
        """Return the place of words in a file, which may lack the column of tags."""
        if file.width == self.width:
            return self.word
        if file.width == self.width - 1:
            return self.word - (self.tag < self.word)
        if file.width == 1:
            return 0
        raise DataError(
            f"{file.path} has {file.width} columns; the model needs the {self.width} that it was trained on, with or "
            "without that of the tags, or one of words"
        )

    def kept(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the class of each word of a batch, in order."""
        assert asked is not None
        found: Tensor = outputs.argmax(-1)[asked]
        return found

    def answers(self, unseen: Unseen, outputs: Tensor) -> pd.DataFrame:
        """Return a row for each word of columns, or for each record.

        Args:
            unseen: from :meth:`read`.
            outputs: the class of each word, from :meth:`kept`.
        """
        assert isinstance(unseen, UntaggedSentences) and unseen.source is not None
        tags = [self.names[code] for code in outputs.tolist()]
        if isinstance(unseen.source, ColumnFile):
            words = [columns[self._word(unseen.source)] for _, columns in unseen.source.rows]
            return unseen.names.assign(word=words, **{self.target: tags})
        return self._records(unseen.source, tags)

    def _records(self, source: TaggedRecords, tags: list[str]) -> pd.DataFrame:
        given = f"given_{self.target}"  # answers stand in the target's field, whether a record had one or not
        rows, start = [], 0
        for number, (record, words) in enumerate(zip(source.records, source.words)):
            own = tags[start : start + len(words)]
            start += len(words)
            spans = spans_of(own) if self.form == "spans" else []
            told: list[Any] = source.written(number, spans, own)
            kept = {given if name == self.target else name: value for name, value in record.items()}
            rows.append({**kept, self.target: [int(one) for one in told] if self.numbers else told})
        return pd.DataFrame(rows)

    def writer(self, unseen: Unseen) -> Callable[[pd.DataFrame, Path], None] | None:
        """Return what writes the columns of a file with one of tags behind them; None for JSONL, a table of records.

        In CoNLL-U, whose columns are fixed, the tags stand in their own column. A file that ends as a table does, such
        as ``.csv``, gets the table.
        """
        assert isinstance(unseen, UntaggedSentences)
        source = unseen.source
        if not isinstance(source, ColumnFile):
            return None

        def write(table: pd.DataFrame, path: Path) -> None:
            if suffix_of(path) in READ and suffix_of(path) != suffix_of(source.path):
                write_table(table, path, unseen.style)
                return
            data = self._columns(source, table[self.target].tolist()).encode()
            path.write_bytes(gzip.compress(data) if is_packed(path) else data)

        return write

    def _columns(self, source: ColumnFile, tags: Sequence[str]) -> str:
        lines, between = list(source.lines), "\t" if source.separator == "\t" else " "
        for (number, columns), tag in zip(source.rows, tags):
            if source.names and source.width == self.width:
                lines[number] = between.join([*columns[: self.tag], tag, *columns[self.tag + 1 :]])
            else:
                lines[number] = f"{lines[number].rstrip(' ')}{between}{tag}"
        return source.end.join(lines)
