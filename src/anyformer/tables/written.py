"""Columns as the texts of the file, each different text once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


class Written(dict[str, pd.Series]):
    """Texts by column; those in ``cells`` and ``codes`` become series when they are looked up.

    Attributes:
        cells: texts by column, empty where one is missing.
        codes: by column, the number of each row's text, and the different texts, None where one is missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cells: dict[str, pa.ChunkedArray] = {}
        self.codes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._stripped: dict[str, pd.Series] = {}

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.cells or name in self.codes

    def __missing__(self, name: str) -> pd.Series:
        if name in self.codes:
            codes, texts = self.codes[name]
            self[name] = pd.Series(texts[codes], dtype=object, name=name)
            return self[name]
        texts = pd.Series(self.cells[name].to_pylist(), dtype=object, name=name)
        self[name] = texts.where(texts != "", None)
        return self[name]

    def stripped(self, name: str) -> pd.Series:
        """Return a column's texts without blanks around them, as categories."""
        if name not in self._stripped:
            codes, texts = self.codes[name] if name in self.codes else pd.factorize(self[name])
            index = self[name].index if super().__contains__(name) else None
            numbers, found = pd.factorize(pd.Series(texts, dtype=object).str.strip())
            held = pd.Categorical.from_codes(np.append(numbers, -1)[codes], pd.Index(found, dtype=object))
            self._stripped[name] = pd.Series(held, index, name=name)
        return self._stripped[name]


def factorized(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return a column's distinct texts (K,), the index of each row's (N,), their counts (K,) and first rows (K,)."""
    if pa.types.is_dictionary(column.type):
        return _first_come(column.unify_dictionaries())
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    texts, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    firsts = np.full(len(texts), len(codes), np.int64)
    np.minimum.at(firsts, codes, np.arange(len(codes)))
    return texts, codes, np.bincount(codes, minlength=len(texts)), firsts


def _first_come(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return :func:`factorized` of a column with one dictionary, whose missing values are empty texts."""
    texts = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    texts = [text or "" for text in texts]
    parts = [pc.fill_null(part.indices, len(texts)).to_numpy(zero_copy_only=False) for part in column.chunks]
    codes, places = pd.factorize(np.concatenate([*parts, np.zeros(0, np.int32)]))
    found = [[*texts, ""][place] for place in places]
    if found.count("") > 1:  # empty texts beside missing ones
        numbers, different = pd.factorize(np.array(found, dtype=object))
        codes, found = numbers[codes], list(different)
    counts = np.bincount(codes, minlength=len(found))
    firsts = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1) > 0)
    return found, codes.astype(np.min_scalar_type(-len(found) - 1)), counts, firsts
