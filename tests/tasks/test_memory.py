"""Tables and arrays in memory go through compare, train and predict as their files do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.compare import compare
from anyformer.tables.files import read_table
from anyformer.tables.numbercells import Convention
from anyformer.tasks import DataError, open_data
from anyformer.tasks.memory import IN_MEMORY, on_disk
from anyformer.train import Fit, load_bundle


def table(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["a", "b", "c"])
    return frame.assign(up=np.where(frame.a > frame.b, "yes", "no"))


def read(data: Any, folder: Path, *args: Any, **options: Any) -> Any:
    assert isinstance(data, IN_MEMORY)
    with on_disk(data, folder) as path:
        return open_data(path, *args, **options)


def test_a_table_is_read_as_its_file(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "up.csv", index=False)
    written, held = open_data(tmp_path / "up.csv", "up"), read(table(), tmp_path, "up")
    for split in ("train", "test"):
        (a,), (b,) = (list(task.eval_batches(split, 100)) for task in (written, held))
        torch.testing.assert_close(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)


def test_an_index_of_dates_is_the_date(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=200, name="day")
    task = read(pd.DataFrame({"sold": np.arange(200.0) % 7}, index=days), tmp_path, "sold")
    assert task.describe()["step"] == "1 day"


@pytest.mark.parametrize("part", [slice(40, None), slice(None, None, 2), slice(None, None, -1)])
def test_a_slice_of_a_table_keeps_its_rows_together(part: slice, tmp_path: Path) -> None:
    rows = table(200).assign(name=lambda frame: frame.up).iloc[part]
    with on_disk(rows, tmp_path) as path:
        read_back = read_table(path, Convention()).frame
    pd.testing.assert_frame_equal(read_back, rows.reset_index(drop=True), check_dtype=False)


def test_an_index_named_like_a_column(tmp_path: Path) -> None:
    rows = table().assign(name=[f"n{row}" for row in range(60)])
    with on_disk(rows.set_index("name", drop=False), tmp_path) as path:
        assert list(read_table(path, Convention()).frame) == ["a", "b", "c", "up", "name"]
    other = rows.set_index(rows.name.iloc[::-1].rename("name"))
    with (
        pytest.raises(DataError, match="the index and a column are both named 'name'; rename one"),
        on_disk(other, tmp_path / "other") as path,
    ):
        read_table(path, Convention())


@pytest.mark.parametrize("kind", ["numpy", "torch", "lists"])
def test_arrays(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5, 2)), rng.integers(3, size=60)
    pair: Any = {
        "numpy": (x, y),
        "torch": (torch.tensor(x).requires_grad_(), torch.tensor(y)),
        "lists": (x.tolist(), [f"class {label}" for label in y]),
    }[kind]
    task = read(pair, tmp_path)
    assert task.num_features == 2 and task.train_length == 5 and len(task.classes) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table()[["a", "a"]], "data: two columns of the DataFrame are named 'a'"),
        (pd.DataFrame({"a": [1, "x", [2]]}), "cannot be written as Parquet: .*column a"),
        ((1, 2, 3), "data: a tuple must hold x and y, got 3 values"),
        (([[1, 2], [3]], [0, 1]), "inhomogeneous|of Python objects"),
        ((np.zeros((4, 3)), [object()] * 4), "data: y must be an array of numbers or labels"),
        (np.zeros((40, 3)), "must hold arrays x and y"),
        (table().drop(columns="up"), "target"),
    ],
)
def test_mistakes_leave_nothing_behind(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(data, tmp_path / "new" / "folder")
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_text("mine")
    with pytest.raises(ValueError, match="is there already: name another folder"):
        read(table(), tmp_path, "up")
    assert (tmp_path / "data.parquet").read_text() == "mine"


def test_train_and_predict(tmp_path: Path) -> None:
    fit = Fit.start(tmp_path / "fit", table(), "mamba dim=8 depth=1", target="up", steps=3)
    fit.run()
    bundle = load_bundle(tmp_path / "fit")
    new = table().drop(columns="up").iloc[::-1]
    said = bundle.predict(new).table
    table().drop(columns="up").to_csv(tmp_path / "new.csv", index=False)
    assert said.index.equals(new.index), "answers are joined to their rows by the index"
    pd.testing.assert_frame_equal(
        said.drop(columns="row").iloc[::-1],
        bundle.predict(tmp_path / "new.csv").table.drop(columns="row"),
    )


def test_missing_values_of_arrays_are_counted_once(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 5))
    x[::3, 2] = np.nan
    Fit.start(tmp_path / "fit", (x, np.arange(60) % 2), "mamba dim=8 depth=1", steps=2).run()
    (remark,) = load_bundle(tmp_path / "fit").predict(x[:9]).remarks
    assert remark == "x: 3 of 45 values are missing; they are set to the mean and marked"


@pytest.mark.parametrize("data", [table().up, {"a": [1]}, 3])
def test_what_is_no_data(data: Any, tmp_path: Path) -> None:
    message = f"data must be the name of a task, a path, a DataFrame, arrays .* {type(data).__name__}"
    with pytest.raises(ValueError, match=message):
        Fit.start(tmp_path / "fit", data, "mamba", target="up")
    with pytest.raises(ValueError, match=message):
        compare(data, "mamba", target="up", out=tmp_path / "cmp", quiet=True)


@pytest.mark.usefixtures("brief_costs")
def test_compare(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'down'"):
        compare(table(), "mamba", target="down", out=tmp_path / "cmp", quiet=True)
    assert not (tmp_path / "cmp").exists()
    with pytest.raises(ValueError, match="resume goes on with the plan in its folder: it takes no task"):
        compare(table(), out=tmp_path, resume=True, quiet=True)
    compare(
        *(table(200), ["[mamba] dim=8", "[attention] dim=8"]),
        **{"target": "up", "out": tmp_path / "cmp", "budget": "6 steps", "workers": 1, "quiet": True},
    )
    assert (tmp_path / "cmp" / "report.html").exists() and (tmp_path / "cmp" / "data.parquet").exists()
