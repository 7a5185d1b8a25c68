"""The encoding of sequences in tables and in ``.npz`` files, as their training data was read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.tables.columns import check_column
from anyformer.tables.files import FILE, TEXT, is_table, read_table, read_texts
from anyformer.tables.timeaxis import as_written, axis_again
from anyformer.tasks.arrays import features_of, load_sequences, mask_in
from anyformer.tasks.encoding import DataLayout
from anyformer.tasks.labelled_encoding import SequenceEncoding
from anyformer.tasks.new_data import (
    Unseen,
    categories_in,
    groups_in,
    named_groups,
    names_of_rows,
    numbers_in,
    rows_from_1,
)
from anyformer.tasks.sequences import bytes_of, rows_of_groups, tokens_of
from anyformer.tokenizers import TextTokenizer


class TableEncoding(SequenceEncoding):
    """The encoding of the rows, texts or groups of rows of a table, or of the rows of an array.

    Attributes:
        layout: of the file.
        tokenizer: of the texts, the JSON of its file, which bundles keep as a file.
        ordered: the numbers of a row are a series, in the order of its columns; so are those of folders that do not
            say it.
    """

    kind: Literal["labelled"] = "labelled"
    layout: DataLayout
    tokenizer: str | None = None
    ordered: bool = True

    @property
    def record(self) -> list[str] | None:
        """The columns of numbers of a row that is no series; None for series, texts, groups and arrays."""
        of_rows = self.layout.kind == "columns" and bool(self.categories or not self.ordered)
        return self.layout.columns if of_rows else None

    @property
    def of_texts(self) -> bool:
        """True for texts; False for rows, groups, and arrays, whose tokens are whole numbers."""
        return self.layout.kind == "text"

    def read(self, path: Path) -> Unseen:
        """Return the sequences in a file."""
        layouts = {"columns": self._rows, "text": self._texts, "groups": self._groups, "arrays": self._arrays}
        return layouts[self.layout.kind](path)

    def _rows(self, path: Path) -> Unseen:
        table = read_table(path, self.layout.convention)
        remarks = list(table.remarks)
        x = numbers_in(table, self.layout.columns, remarks).to_numpy()[..., None]
        texts = categories_in(table, self.categories, remarks)
        inputs = {*self.layout.columns, *texts, *self.targets}
        return self.unseen(x, names_of_rows(table, inputs), remarks, texts=texts, style=table.style)

    def _texts(self, path: Path) -> Unseen:
        """Return the rows of a table with a column of texts, or the files of a folder, or one file."""
        name = self.layout.text
        assert name is not None
        of_files = name == TEXT and not is_table(path)
        table = read_texts(path) if of_files else read_table(path, self.layout.convention)
        remarks = list(table.remarks)
        check_column(path, table.frame, name, needs=f"the model needs the column {name!r}")
        if self.tokenizer is None:
            assert self.vocab_size == 256, "texts that a tokenizer read need it again"
            x, mask = bytes_of(table, name, self.layout.length, remarks)
        else:
            x, mask = tokens_of(table, name, TextTokenizer(self.tokenizer), self.layout.length, remarks)
        names = table.frame[[FILE]] if of_files else names_of_rows(table, {name, *self.targets})
        return self.unseen(x, names, remarks, mask=mask, style=table.style)

    def _groups(self, path: Path) -> Unseen:
        layout, table = self.layout, read_table(path, self.layout.convention)
        assert layout.groups and layout.length is not None
        remarks = list(table.remarks)
        keys = groups_in(table, layout.groups, remarks)
        if layout.date is not None:
            dated = axis_again(path, as_written(table), layout.date, layout.reading, remarks, keys)
            table = replace(table, frame=table.frame.loc[dated.instants.sort_values(kind="stable").index])
        values = numbers_in(table, layout.columns, remarks)
        texts = categories_in(table, self.categories, remarks)
        codes, different = pd.factorize(keys[table.frame.index])
        if not len(different):
            raise DataError(f"{path}: column {layout.groups[0]!r} holds no group")
        x, texts, mask = rows_of_groups(codes, values.to_numpy(), texts, layout.length, remarks)
        names = named_groups(table, layout.groups, keys, list(different))
        return self.unseen(x, names, remarks, texts=texts, mask=mask, style=table.style)

    def _arrays(self, path: Path) -> Unseen:
        if path.suffix.lower() != ".npz":
            raise DataError(
                f"{path}: the model was trained on an .npz file, and takes another with an array x"
            )
        remarks = list[str]()
        (x,) = load_sequences(path, ("x",), remarks)
        mask = mask_in(path, x, self.layout.axes)
        if self.vocab_size is not None:
            self._check_tokens(path, x)
            return self.unseen(x, rows_from_1(len(x)), remarks, mask=mask)
        assert self.standard is not None
        x, width = features_of(x, self.layout.axes, remarks), len(self.standard.mean[0])
        if x.shape[2] != width:
            raise DataError(f"{path}: x must have {width} features a place, got {x.shape[2]}")
        return self.unseen(x, rows_from_1(len(x)), remarks, mask=mask, told=self.standard.marks)

    def _check_tokens(self, path: Path, x: np.ndarray) -> None:
        assert self.vocab_size is not None
        if x.ndim != 2 or x.dtype.kind not in "iu":
            raise DataError(f"{path}: x must be tokens (N, T) of integers, got {x.dtype} {x.shape}")
        if x.min() < 0 or x.max() >= self.vocab_size:
            raise DataError(
                f"{path}: x must hold tokens from 0 to {self.vocab_size - 1}, got {x.min()} to {x.max()}"
            )
