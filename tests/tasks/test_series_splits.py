"""Splits of forecasts as the user gives them: by a column, by dates, by rows, in files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.tasks import DataError, open_data
from anyformer.tasks.forecasting import ForecastTask


def days(count: int = 200, first: str = "2024-01-01") -> pd.DataFrame:
    y = np.random.default_rng(0).normal(size=count).cumsum().round(3)
    return pd.DataFrame({"day": pd.date_range(first, periods=count).strftime("%Y-%m-%d"), "y": y})


def opened(folder: Path, frame: pd.DataFrame, **options: Any) -> ForecastTask:
    frame.to_csv(folder / "y.csv", index=False)
    task = open_data(folder / "y.csv", "y", **{"context": 6, "horizon": 2, **options})
    assert isinstance(task, ForecastTask)
    return task


def values(task: ForecastTask, split: Any) -> np.ndarray:
    """The values that windows of a split ask for, each once."""
    found = [batch.in_units(batch.targets) for batch in task.eval_batches(split, 64)]
    return np.unique(np.concatenate(found).round(3))


def test_dates(tmp_path: Path) -> None:
    frame = days()
    task = opened(tmp_path, frame, split="2024-04-10,2024-05-20", reach_back=True)
    assert np.array_equal(values(task, "test"), np.unique(frame.loc[frame["day"] >= "2024-05-20", "y"]))
    assert "the splits are as given: validation begins at 2024-04-10, test at 2024-05-20" in task.notes()
    bounded = opened(tmp_path, frame, split=" 2024-04-10, 2024-05-20 , 2024-06-10 ", reach_back=True)
    inside = frame[(frame["day"] >= "2024-05-20") & (frame["day"] < "2024-06-10")]
    assert np.array_equal(values(bounded, "test"), np.unique(inside["y"]))
    assert any(
        note.endswith("and ends before 2024-06-10: the 39 steps from there on are in no split")
        for note in bounded.notes()
    )


def test_a_date_between_steps_begins_at_the_next(tmp_path: Path) -> None:
    frame = days()
    frame["day"] = pd.date_range("2024-01-01", periods=200, freq="6h").strftime("%Y-%m-%d %H:%M")
    task = opened(tmp_path, frame, split="2024-01-26T13:00,2024-02-05", reach_back=True)
    begins = frame.index[(frame["day"] > "2024-01-26 13:00")][0]
    assert frame.loc[begins, "day"] == "2024-01-26 18:00"
    assert values(task, "valid").min() >= frame.loc[begins : begins + 45, "y"].min()
    assert any("validation begins at 2024-01-26 18:00" in note for note in task.notes())


def test_rows_where_there_are_no_dates(tmp_path: Path) -> None:
    frame = days().drop(columns="day")
    task = opened(tmp_path, frame, split="121,161", kind="forecast", reach_back=True)
    assert np.array_equal(values(task, "test"), np.unique(frame["y"][160:]))
    assert any("validation begins at row 121, test at row 161" in note for note in task.notes())


@pytest.mark.parametrize("words", [("train", "valid", "test"), ("Training", "val", "testing")])
def test_a_column(tmp_path: Path, words: tuple[str, str, str]) -> None:
    frame = days()
    frame["part"] = np.repeat(words, [120, 40, 40])
    task = opened(tmp_path, frame.sample(frac=1, random_state=0), split="part", reach_back=True)
    assert np.array_equal(values(task, "test"), np.unique(frame["y"][160:]))
    assert task.encoding.layout.columns == ["y"] and task._cuts == [0, 120, 160, 200]


def test_files(tmp_path: Path) -> None:
    frame = days()
    frame[160:].to_csv(tmp_path / "last.csv", index=False)
    task = opened(tmp_path, frame[:160], test=str(tmp_path / "last.csv"), reach_back=True)
    assert np.array_equal(values(task, "test"), np.unique(frame["y"][160:]))
    assert task._cuts == [0, 128, 160, 200]  # a fifth of the training part validates


def test_several_series_share_the_borders(tmp_path: Path) -> None:
    frame = pd.concat([days().assign(shop="a"), days(120, "2024-03-21").assign(shop="b")])
    task = opened(tmp_path, frame, split="2024-04-20,2024-06-01", group="shop", reach_back=True)
    both = frame[frame["day"] >= "2024-06-01"]
    assert np.array_equal(values(task, "test"), np.unique(both["y"]))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("2024-05-20,2024-04-10", "split='2024-05-20,2024-04-10' must be two or three dates such as"),
        ("2023-05-20,2024-04-10", "ascending and inside the data"),
        ("2024-04-10,2024-05-20,2025-01-01", "ascending and inside the data"),
        ("1,2,3,4", "must be two or three dates"),
        ("2024-04-10", "has no column '2024-04-10'"),
        ("pert", "has no column 'pert'; did you mean 'part'"),
        ("bad", "column 'bad' of .* must hold one of train, .* got 'later' in row 200"),
        (
            "mixed",
            "has train rows at or after the first test row: splits of forecasts follow each other in time",
        ),
        ("alone", "names no row test"),
    ],
)
def test_wrong_splits(tmp_path: Path, split: str, message: str) -> None:
    frame = days()
    frame["part"] = np.repeat(["train", "valid", "test"], [120, 40, 40])
    frame["bad"] = frame["part"].where(frame.index < 199, "later")
    frame["mixed"] = np.resize(["train", "train", "test"], 200)
    frame["alone"] = "train"
    with pytest.raises((DataError, ValueError), match=message):
        opened(tmp_path, frame, split=split)


def test_dates_are_of_forecasts_only(tmp_path: Path) -> None:
    frame = days().assign(label=np.resize(["up", "down"], 200))
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match="has no column '2024-04-10,2024-05-20'"):
        open_data(tmp_path / "rows.csv", "label", kind="classify", split="2024-04-10,2024-05-20")
