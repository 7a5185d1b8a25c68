"""The columns that a model needs of a new table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from anyformer.errors import DataError
from anyformer.tables.files import read_table
from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import Table
from anyformer.tasks.categories import Category
from anyformer.tasks.new_data import categories_in, groups_in, named_groups, numbers_in


def table(folder: Path) -> Table:
    frame = pd.DataFrame({"a": [1, 2, None, 4], "g": ["x", "y", None, "x"], "h": [1, 1, 1, 2]})
    frame.to_csv(folder / "new.csv", index=False)
    return read_table(folder / "new.csv", Convention())


def test_groups_get_keys_and_their_names_back(tmp_path: Path) -> None:
    remarks = list[str]()
    keys = groups_in(table(tmp_path), ["g", "h"], remarks)
    assert keys.dropna().tolist() == ["x / 1", "y / 1", "x / 2"] and remarks == [
        "1 rows have no group and are left out"
    ]
    names = named_groups(table(tmp_path), ["g", "h"], keys, ["x / 2", "y / 1"])
    assert names.to_numpy().tolist() == [["x", "2"], ["y", "1"]]


def test_categories_that_training_did_not_show_are_named(tmp_path: Path) -> None:
    remarks = list[str]()
    found = categories_in(table(tmp_path), [Category(name="g", values=["x", "z"])], remarks)
    assert found["g"].tolist() == ["x", "y", None, "x"]
    assert remarks == ["'g': values that training showed at most once are read as one ('y')"]


def test_absent_columns_and_texts_are_one_sentence(tmp_path: Path) -> None:
    made = table(tmp_path)
    with pytest.raises(DataError, match="the model needs the columns 'a', 'b': .* has no column 'b'"):
        numbers_in(made, ["a", "b"], [])
    with pytest.raises(DataError, match="column 'g' is not numeric"):
        numbers_in(made, ["g"], [])
    with pytest.raises(DataError, match="the model needs the column 'k'"):
        groups_in(made, ["k"], [])
