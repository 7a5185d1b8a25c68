"""Texts, and groups of rows, cut or padded to one length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anyformer.tables.reading import Table
from anyformer.tasks.sequences import bytes_of, padded, rows_of_groups


def test_texts_are_cut_and_padded_and_empty_ones_are_told() -> None:
    table, remarks = Table(Path("a.csv"), pd.DataFrame({"t": ["ab", None, "abcd"]})), list[str]()
    x, mask = bytes_of(table, "t", 3, remarks)
    assert [bytes(row[real].tolist()) for row, real in zip(x, mask)] == [b"ab", b" ", b"abc"]
    assert remarks == [
        "1 texts in 't' are empty; each is read as one space",
        "1 of 3 texts are longer than 3 bytes and cut there",
    ]
    assert bytes_of(table, "t", None, [])[0].shape == (3, 4)
    with pytest.raises(ValueError, match="length must be an integer at least 1, got 0"):
        bytes_of(table, "t", 0, [])


def test_rows_keep_their_order_in_their_group() -> None:
    codes, remarks = np.array([1, 0, 1, -1, 1]), list[str]()
    values = np.arange(10.0).reshape(5, 2)
    texts = {"kind": np.array(["a", "b", None, "d", "e"], dtype=object)}
    x, found, mask = rows_of_groups(codes, values, texts, 2, remarks)
    assert x.tolist() == [[[2, 3], [0, 0]], [[0, 1], [4, 5]]]
    assert found["kind"].tolist() == [["b", None], ["a", None]]
    assert mask.tolist() == [[True, False], [True, True]]
    assert remarks == ["1 groups have more than 2 rows and are cut there"]


def test_sequences_of_numbers_are_padded_with_zeros_and_those_of_objects_with_none() -> None:
    x, mask = padded([np.ones((3, 2)), np.ones((1, 2))], 2)
    assert x.tolist() == [[[1, 1], [1, 1]], [[1, 1], [0, 0]]] and mask.sum() == 3
    texts, _ = padded([np.array(["a"], dtype=object), np.array([], dtype=object)], 1)
    assert texts.tolist() == [["a"], [None]]


def test_rows_of_groups_are_in_their_order_and_cut() -> None:
    rng = np.random.default_rng(0)
    codes = np.where(rng.random(50) < 0.1, -1, rng.integers(0, 4, 50))
    values, remarks = rng.normal(size=(50, 2)), list[str]()
    x, _, mask = rows_of_groups(codes, values, {}, 7, remarks)
    for code in range(codes.max() + 1):
        rows = values[codes == code][:7]
        assert np.array_equal(x[code][mask[code]], rows) and not x[code][~mask[code]].any()
    more = int((np.bincount(codes[codes >= 0]) > 7).sum())
    assert more and remarks == [f"{more} groups have more than 7 rows and are cut there"]
