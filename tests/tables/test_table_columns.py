"""Columns by name and by content."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from anyformer.spelling import command_line
from anyformer.tables.columns import check_column, is_text
from anyformer.tasks import DataError

FRAME = pd.DataFrame({"amount": [1.0], "date": pd.to_datetime(["2024-01-01"]), "ok": [True], "shop": ["a"]})


def test_a_missing_column_is_told_the_nearest_or_all() -> None:
    assert check_column(Path("a.csv"), FRAME, "shop", "group") == "shop"
    with pytest.raises(DataError, match=r"group: a.csv has no column 'shpo'; did you mean 'shop'"):
        check_column(Path("a.csv"), FRAME, "shpo", "group")
    with pytest.raises(DataError, match="its columns are 'amount', 'date', 'ok', 'shop'$"), command_line():
        check_column(Path("a.csv"), FRAME, "zzz", "group")
    wide = pd.DataFrame(columns=[f"column {i}" for i in range(30)])
    with pytest.raises(DataError, match="and 10 more$"):
        check_column(Path("a.csv"), wide, "zzz", "group")


def test_texts_are_neither_numbers_nor_booleans_nor_dates() -> None:
    assert [name for name in FRAME if is_text(FRAME[name])] == ["shop"]
    assert is_text(pd.Series([1, "a"])) and not is_text(pd.Series([1, None]))
