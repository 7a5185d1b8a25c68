"""Texts, and groups of rows, as sequences of one length, with the mask of what is real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.tables.columns import is_text
from anyformer.tables.reading import Table
from anyformer.tasks.base import check_integer
from anyformer.tokenizers import TextTokenizer

LONGEST_TEXT = 512
"""Bytes, or tokens, that are read of a text, unless another length is given."""


def padded(parts: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences ``(n, ...)`` as one array ``(N, length, ...)``, cut or padded, and the mask of what is real.

    Padding is 0; of objects, None.
    """
    dtype, sizes = parts[0].dtype, np.array([len(part) for part in parts])
    x = np.full((len(parts), length, *parts[0].shape[1:]), None if dtype.kind == "O" else 0, dtype)
    for number, part in enumerate(parts):
        x[number, : len(part)] = part[:length]
    return x, np.arange(length)[None] < np.minimum(sizes, length)[:, None]


def bytes_of(
    table: Table, name: str, length: int | None, remarks: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return bytes ``(N, T)`` of the texts in a column, cut or padded, and the mask of the real ones."""
    column = table.frame[name] if is_text(table.frame[name]) else table.keys(name)
    texts = [b"" if pd.isna(text) else str(text).encode() for text in column]
    empty = sum(not text for text in texts)
    if empty:
        remarks.append(f"{empty} texts in {column.name!r} are empty; each is read as one space")
    texts = [text or b" " for text in texts]
    sizes = np.array([len(text) for text in texts])
    if length is None:
        length = int(min(LONGEST_TEXT, sizes.max()))
    check_integer("length", length, low=1)
    cut = int((sizes > length).sum())
    if cut:
        remarks.append(f"{cut} of {len(texts)} texts are longer than {length} bytes and cut there")
    return padded([np.frombuffer(text, np.uint8) for text in texts], length)


def tokens_of(
    table: Table, name: str, tokenizer: TextTokenizer, length: int | None, remarks: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens ``(N, T)`` of the texts in a column, cut or padded, and the mask of the real ones."""
    column = table.frame[name] if is_text(table.frame[name]) else table.keys(name)
    ids = [one.ids for one in tokenizer.encode(["" if pd.isna(text) else str(text) for text in column])]
    sizes = np.array([len(one) for one in ids])
    if not sizes.any():
        raise DataError(f"the tokenizer gives no token for any text in {name!r}")
    if empty := int((sizes == 0).sum()):
        stand_in = tokenizer.unknown() or 0
        remarks.append(
            f"{empty} texts in {name!r} have no tokens; each is read as {tokenizer.token(stand_in)!r}"
        )
        ids = [one if len(one) else np.array([stand_in]) for one in ids]
        sizes = np.maximum(sizes, 1)
    if length is None:
        length = int(min(LONGEST_TEXT, sizes.max()))
    check_integer("length", length, low=1)
    if cut := int((sizes > length).sum()):
        remarks.append(f"{cut} of {len(ids)} texts are longer than {length} tokens and cut there")
    return padded(ids, length)


def rows_of_groups(
    codes: np.ndarray, values: np.ndarray, texts: Mapping[str, np.ndarray], length: int, remarks: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Return values and texts ``(rows, ...)`` by group: ``(N, T, ...)``, cut or padded to ``length``, and the mask.

    Rows whose code is negative are of no group.
    """
    sizes = np.bincount(codes[codes >= 0])
    if sizes.max() > length:
        remarks.append(f"{int((sizes > length).sum())} groups have more than {length} rows and are cut there")
    order = np.argsort(codes, kind="stable")[-sizes.sum() :]
    places = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order, places = order[places < length], places[places < length]

    def placed(column: np.ndarray, fill: float | None) -> np.ndarray:
        x = np.full((len(sizes), length, *column.shape[1:]), fill, object if fill is None else np.float64)
        x[codes[order], places] = column[order]
        return x

    mask = np.arange(length)[None] < np.minimum(sizes, length)[:, None]
    return placed(values, 0.0), {name: placed(text, None) for name, text in texts.items()}, mask
