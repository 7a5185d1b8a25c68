"""The columns that a model needs of a new table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anyformer.errors import DataError
from anyformer.tables.files import read_table
from anyformer.tables.numbercells import Convention
from anyformer.tables.reading import Table
from anyformer.tasks.categories import Category
from anyformer.tasks.new_data import beside, categories_in, groups_in, named_groups, names_of_rows, numbers_in


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
    assert remarks == [
        "1 of 4 values of 'g' are missing, which is a category of its own",
        "'g': values that training showed at most once are read as one ('y')",
    ]


def test_absent_columns_and_texts_are_one_sentence(tmp_path: Path) -> None:
    made = table(tmp_path)
    with pytest.raises(DataError, match="the model needs the columns 'a', 'b': .* has no column 'b'"):
        numbers_in(made, ["a", "b"], [])
    with pytest.raises(DataError, match="column 'g' is not numeric"):
        numbers_in(made, ["g"], [])
    with pytest.raises(DataError, match="the model needs the column 'k'"):
        groups_in(made, ["k"], [])


def named(folder: Path, frame: pd.DataFrame, used: set[str], rows: np.ndarray | None = None) -> pd.DataFrame:
    frame.to_csv(folder / "new.csv", index=False)
    return names_of_rows(read_table(folder / "new.csv", Convention()), used, rows)


def test_what_tells_rows_apart_stands_beside_their_answers(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"id": ["007", "008", "010"], "x": [1, 2, 3], "size": [0.5, 0.7, 0.9], "kind": ["a", "b", "a"]}
    )
    frame["age"] = [31, 44, 25]  # all differ by chance
    frame["when"] = ["2024-01-01", "2024-01-02", "2024-01-03"]
    frame["note"] = [f"{word} {'very ' * 20}long" for word in ("one", "two", "three")]
    assert named(tmp_path, frame, {"x"}).to_dict("list") == {
        **{"row": [1, 2, 3], "id": ["007", "008", "010"], "when": frame["when"].tolist()}
    }
    assert named(tmp_path, frame, {"x", "when"}, np.array([2, 0])).to_dict("list") == {
        "row": [3, 1],
        "id": ["010", "007"],
    }
    assert named(tmp_path, frame.assign(age=["x", "y", "z"]), {"when"})["age"].tolist() == ["x", "y", "z"]
    frame.loc[1, "id"] = None  # a gap names nothing
    assert list(named(tmp_path, frame, {"x", "when"})) == ["row"]


def test_a_column_of_the_users_called_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"row": ["r1", "r2"], "x": [1, 2]})
    assert named(tmp_path, frame, {"x"}).to_dict("list") == {"number of the row": [1, 2], "row": ["r1", "r2"]}


def test_answers_that_are_called_as_names_are() -> None:
    names = pd.DataFrame({"row": [1, 2], "id": ["a", "b"], "p(yes)": ["k", "l"]})
    table = beside(names, {"row": np.array([5, 6]), "p(yes)": np.array([0.1, 0.2])})
    assert list(table) == ["number of the row", "id", "p(yes) (given)", "row", "p(yes)"]
