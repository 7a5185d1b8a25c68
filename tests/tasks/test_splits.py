"""Splits: equal samples together, or as the user has split them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.tasks import DataError, Task, open_data
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.splits import split_as_given


def rows(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": rng.normal(size=count).round(4),
            "city": rng.choice(["Rome", "Oslo"], count),
            "y": rng.choice(["u", "v"], count),
        }
    )


def saved(path: Path, frame: pd.DataFrame) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def numbers(task: Task, split: str) -> list[float]:
    """The column ``a`` of the rows of a split, in the file's units."""
    assert isinstance(task, LabelledTask) and task.encoding is not None and task.encoding.standard is not None
    standard, x = task.encoding.standard, task._x
    values = x["a"] if isinstance(x, dict) else x[:, 0]
    own = values[task._index[split], 0] * standard.scale[0][0] + standard.mean[0][0]  # type: ignore[index]
    return sorted(own.round(4).tolist())


def test_files_are_the_splits(tmp_path: Path) -> None:
    parts = {"train": rows(60, 1), "valid": rows(20, 2), "test": rows(25, 3)}
    files = {name: saved(tmp_path / f"{name}.csv", frame) for name, frame in parts.items()}
    task = open_data(files["train"], "y", kind="classify", valid=files["valid"], test=files["test"])
    for name, frame in parts.items():
        assert numbers(task, name) == sorted(frame["a"])
    assert "the splits are as given: 60 rows train, 20 rows valid, 25 rows test" in task.notes()
    assert task.encoding is not None and "(split)" not in task.encoding.model_dump_json()

    task = open_data(files["train"], "y", kind="classify", test=files["test"])
    assert numbers(task, "test") == sorted(parts["test"]["a"])
    assert sorted([*numbers(task, "train"), *numbers(task, "valid")]) == sorted(parts["train"]["a"])
    assert any("9 of the 60 training samples become it" in note for note in task.notes())


def test_a_column_tells_the_splits_of_rows_and_groups(tmp_path: Path) -> None:
    frame = rows(90)
    frame["part"] = ["Train", "train", " dev", "TEST", "training", "test"] * 15
    task = open_data(saved(tmp_path / "rows.csv", frame), "y", kind="classify", split="part")
    assert numbers(task, "test") == sorted(frame["a"][frame["part"].isin(["TEST", "test"])])
    assert numbers(task, "valid") == sorted(frame["a"][frame["part"] == " dev"])
    assert task.describe()["columns"] == ["a", "city"]

    rng = np.random.default_rng(0)
    long = pd.DataFrame({"who": np.repeat(np.arange(40), 5), "day": 0, "a": rng.normal(size=200).round(4)})
    long["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.permutation(200), unit="D")
    long["y"], long["part"] = long["who"] % 2, np.where(long["who"] < 30, "train", "test")
    shuffled = long.sample(frac=1, random_state=0)
    path = saved(tmp_path / "groups.csv", shuffled)
    task = open_data(path, "y", group="who", date="day", kind="classify", split="part")
    assert {name: task.size(name) for name in ("train", "valid", "test")} == {
        "train": 26,
        "valid": 4,
        "test": 10,
    }  # type: ignore[arg-type]
    wanted = long[long["part"] == "test"].sort_values(["who", "day"])["a"].tolist()
    standard = task.encoding.standard  # type: ignore[union-attr]
    own = task._x[task._index["test"]][..., 0] * standard.scale[0][0] + standard.mean[0][0]  # type: ignore[attr-defined]
    assert sorted(own.round(4).ravel().tolist()) == sorted(wanted)


def test_equal_samples_stay_where_they_were_put_and_are_said() -> None:
    x, remarks = np.array([[1.0], [2.0], [3.0], [1.0], [5.0], [3.0]]), list[str]()
    given = np.array(["train", "train", "valid", "test", "test", "valid"], dtype=object)
    found = split_as_given(given, [x], None, None, 0, "data", remarks)
    assert {name: part.tolist() for name, part in found.items()} == {
        "train": [0, 1],
        "valid": [2, 5],
        "test": [3, 4],
    }
    assert remarks == ["1 of 2 test samples are equal to training samples; the split is as it was given"]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {},
            {"split": "y", "test": "test.csv"},
            "split='y' and test both say how|split and test both say how",
        ),
        ({}, {"valid": "test.csv"}, "valid needs test beside it"),
        ({}, {"test": "tset.csv"}, "did you mean|no file or folder"),
        ({}, {"test": "rows.csv"}, "test must name another file than the data"),
        ({}, {"split": "city"}, "must hold one of train, training, valid, .* got 'Rome' in row"),
        ({}, {"split": "cty"}, "has no column 'cty'; did you mean 'city'"),
        (
            {"rename": {"a": "b"}},
            {"test": "test.csv"},
            "test: .*test.csv has no column 'a', which .*rows.csv has",
        ),
        (
            {"assign": {"a": "text"}},
            {"test": "test.csv"},
            "'a' holds numbers in .*rows.csv and texts in .*test.csv, such as 'text'",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: Any, options: dict[str, str], message: str
) -> None:
    first, other = rows(40), rows(30, 1)
    first.loc[:, "city"] = "Rome"
    if "rename" in change:
        other = other.rename(columns=change["rename"])
    other = other.assign(**change.get("assign", {}))
    saved(tmp_path / "rows.csv", first)
    saved(tmp_path / "test.csv", other)
    given = {
        name: str(tmp_path / value) if value.endswith(".csv") else value for name, value in options.items()
    }
    with pytest.raises((DataError, ValueError), match=message):
        open_data(tmp_path / "rows.csv", "y", kind="classify", **given)


def test_a_group_in_two_splits_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"who": np.repeat(np.arange(30), 2), "a": np.arange(60.0) % 7, "y": np.repeat(np.arange(30) % 2, 2)}
    )
    frame["part"] = "train"
    frame.loc[[1, 4, 5], "part"] = "test"
    with pytest.raises(DataError, match="the rows of group '0' are in several splits"):
        open_data(saved(tmp_path / "rows.csv", frame), "y", group="who", kind="classify", split="part")
