"""Forecasts from new data with covariates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.errors import DataError
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.new_data import Unseen
from anyformer.tasks.readers import load_encoding

from .panels import AHEAD, opened, sales

OPTIONS: dict[str, Any] = {
    "horizon": AHEAD,
    "context": 12,
    "known": "promo",
    "category": "shop",
    "calendar": True,
}


def frame_of(**more: Any) -> pd.DataFrame:
    frame = sales(150, 3)
    return frame.assign(sky=np.where(np.arange(len(frame)) % 3 == 0, "rain", "sun"), **more)


def read(task: ForecastTask, folder: Path, frame: pd.DataFrame) -> Unseen:
    frame.to_csv(folder / "new.csv", index=False)
    encoding = load_encoding(json.loads(json.dumps(task.encoding.model_dump(mode="json", exclude_none=True))))
    return encoding.read(folder / "new.csv")


def test_a_forecast_continues_the_last_window(tmp_path: Path) -> None:
    """With the last targets emptied, the window is the one whose targets those are, and what is known is the same."""
    frame = frame_of()
    task = opened(tmp_path, frame[frame["sold"].notna()], **OPTIONS)
    cut = frame[frame["sold"].notna()].copy()
    last = cut.groupby("shop").cumcount(ascending=False) < AHEAD
    cut.loc[last, "sold"] = np.nan
    unseen = read(task, tmp_path, cut)
    index = [np.flatnonzero(task._strata("test", 0) == owner)[-1] for owner in range(3)]
    (wanted,) = task.eval_batches("test", 3, index=np.array(index))
    assert isinstance(unseen.batch.inputs, dict) and isinstance(wanted.inputs, dict)
    assert unseen.batch.source is not None and wanted.source is not None
    for name, value in wanted.inputs.items():
        torch.testing.assert_close(unseen.batch.inputs[name], value)
    for name, value in wanted.source.inputs.items():  # type: ignore[union-attr]
        torch.testing.assert_close(unseen.batch.source.inputs[name], value)  # type: ignore[index]
    told = task.encoding.answers(unseen, wanted.targets)
    assert list(told) == ["shop", "day", "sold"]
    true = frame[frame["sold"].notna()][last]
    assert told["sold"].tolist() == pytest.approx(true["sold"].tolist(), rel=1e-5)
    assert told["day"].tolist() == true["day"].tolist() and told["shop"].tolist() == true["shop"].tolist()


def test_rows_without_dates_are_steps(tmp_path: Path) -> None:
    frame = frame_of().drop(columns="day")
    options = {**OPTIONS, "calendar": None, "kind": "forecast"}
    task = opened(tmp_path, frame, **options)
    found = read(task, tmp_path, frame)
    assert isinstance(found.batch.inputs, dict)
    future = frame[frame["sold"].isna()]["promo"].to_numpy().reshape(3, AHEAD)
    numbers = found.batch.inputs["(covariates)"][..., 0]
    assert ((numbers > 0).numpy() == future.astype(bool)).all()
    assert found.names["step"].tolist() == list(range(1, AHEAD + 1)) * 3


def test_calendar_and_facts_alone_need_no_rows_of_the_future(tmp_path: Path) -> None:
    frame = frame_of()
    task = opened(tmp_path, frame, **{**OPTIONS, "known": None})
    found = read(task, tmp_path, frame[frame["sold"].notna()])
    assert len(found.batch) == 3 and isinstance(found.batch.inputs, dict)
    assert found.batch.inputs["shop"].unique(dim=1).shape == (3, 1) and (found.batch.inputs["shop"] > 1).all()


class TestWhatIsMissing:
    def test_no_row_of_the_future(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        said = (
            "series 's0' has 0 rows with 'promo' after the last 'sold'; the model needs 8, one for each step that it "
            "forecasts; future='FILE' names the rows that follow the data"
        )
        with pytest.raises(DataError, match=said):
            read(task, tmp_path, frame[frame["sold"].notna()])

    def test_some_series_have_too_few_rows_or_empty_ones(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        new = frame.drop(index=frame.index[frame["shop"] == "s0"][-3:])
        new.loc[new.index[new["shop"] == "s1"][-2:], "promo"] = np.nan
        found = read(task, tmp_path, new)
        assert found.names["shop"].unique().tolist() == ["s2"]
        told = " | ".join(found.remarks)
        assert "series 's0' has 5 rows with 'promo' after the last 'sold'" in told
        assert "series 's1' has 6 rows with 'promo'" in told

    def test_cells_that_are_empty_in_training_may_be_so_ahead(self, tmp_path: Path) -> None:
        frame = frame_of()
        frame["event"] = np.where(frame["promo"] == 1, "sale", None)  # type: ignore[call-overload]
        task = opened(tmp_path, frame, **{**OPTIONS, "known": "event"})
        found = read(task, tmp_path, frame)
        assert isinstance(found.batch.inputs, dict) and found.batch.inputs["event"].unique().tolist() == [
            0,
            2,
        ]

    def test_short_series_are_named_and_late_rows_counted(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        late = frame[frame["sold"].isna()].assign(day="01.01.2023")
        found = read(
            task,
            tmp_path,
            pd.concat([frame[frame["shop"] != "s1"], frame[frame["shop"] == "s1"][-18:], late]),
        )
        told = " | ".join(found.remarks)
        assert "series 's1' has 10 steps at its end; the model needs 12: left out" in told
        assert "2 rows lie more than 8 steps ahead and are left out" in told

    def test_categories_unknown_in_training_are_said(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        found = read(task, tmp_path, frame.assign(shop=frame["shop"].replace("s1", "new")))
        assert "'shop': values that training showed at most once are read as one ('new')" in found.remarks
        assert isinstance(found.batch.inputs, dict) and found.batch.inputs["shop"][:, 0].tolist() == [2, 1, 4]

    def test_an_absent_column_is_named(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        with pytest.raises(
            DataError, match="the model needs the columns 'sold', 'promo': .* has no column 'promo'"
        ):
            read(task, tmp_path, frame.drop(columns="promo"))
        with pytest.raises(DataError, match="the model needs the column 'sky'"):
            read(task, tmp_path, frame.drop(columns="sky"))


class TestFuture:
    """What is known ahead may stand in a file of its own."""

    def asked(self, task: ForecastTask, folder: Path, data: pd.DataFrame, later: pd.DataFrame) -> Unseen:
        data.to_csv(folder / "new.csv", index=False)
        later.to_csv(folder / "later.csv", index=False)
        encoding = task.encoding.with_options({"future": str(folder / "later.csv")})
        return encoding.read(folder / "new.csv")

    def test_it_is_the_same_as_rows_of_the_data(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        future = frame["sold"].isna()
        whole = read(task, tmp_path, frame)
        later = frame.loc[future, ["shop", "promo", "day"]]
        found = self.asked(task, tmp_path, frame[~future], later.sample(frac=1, random_state=0))
        assert isinstance(found.batch.inputs, dict) and isinstance(whole.batch.inputs, dict)
        for name, value in whole.batch.inputs.items():
            assert torch.equal(found.batch.inputs[name], value)
        assert found.names.equals(whole.names)

    def test_of_both_the_file_counts_and_its_other_series_are_left_out(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        later = frame.loc[frame["sold"].isna(), ["shop", "promo", "day"]].assign(promo=1)
        later.loc[later["shop"] == "s2", "shop"] = "new"
        found = self.asked(task, tmp_path, frame, later)
        assert isinstance(found.batch.inputs, dict) and (found.batch.inputs["(covariates)"][..., 0] > 0).all()
        told = " | ".join(found.remarks)
        assert "what is known ahead is taken from later.csv alone" in told
        assert "series of later.csv that the data does not have are left out ('new', ...)" in told
        assert "series 's2' has 0 rows with 'promo'" in told

    def test_mistakes(self, tmp_path: Path) -> None:
        frame = frame_of()
        blind = opened(tmp_path, frame.drop(columns="promo"), **{**OPTIONS, "known": None})
        with pytest.raises(ValueError, match="future: the model knows no column ahead"):
            self.asked(blind, tmp_path, frame, frame)
        task = opened(tmp_path, frame, **OPTIONS)
        with pytest.raises(DataError, match="there is no file or folder"):
            task.encoding.with_options({"future": str(tmp_path / "gone.csv")}).read(tmp_path / "data.csv")
        with pytest.raises(DataError, match="has no column 'promo'"):
            self.asked(task, tmp_path, frame, frame[["day", "shop"]])
        with pytest.raises(ValueError, match="have no option 'futur'"):
            task.encoding.with_options({"futur": "x"})


class TestWhatIsSaid:
    def test_a_price_that_was_the_same_until_now_and_is_planned_to_change_counts(
        self, tmp_path: Path
    ) -> None:
        frame = frame_of()
        frame["price"] = frame["shop"].map(
            {name: 10.0 * (i + 1) for i, name in enumerate(frame["shop"].unique())}
        )
        task = opened(tmp_path, frame, **{**OPTIONS, "known": ["promo", "price"]})
        raised = frame.copy()
        raised.loc[raised["sold"].isna(), "price"] = 999.0
        before, after = (read(task, tmp_path, one).batch.inputs for one in (frame, raised))
        assert isinstance(before, dict) and isinstance(after, dict)
        different = (before["(covariates)"] != after["(covariates)"]).any(1)
        assert different.any(1).all(), "the new price reaches each series"

    def test_what_was_the_same_in_each_series_and_changes(self, tmp_path: Path) -> None:
        frame = frame_of()
        frame["region"] = frame["shop"].map(dict(zip(frame["shop"].unique(), ["north", "south", "east"])))
        task = opened(tmp_path, frame, **OPTIONS)
        moved = frame.copy()
        moved.loc[moved.index[-1], "region"] = "north"
        said = " ".join(read(task, tmp_path, moved).remarks)
        assert "'region' was the same at all steps of a series in training and changes in 1 here" in said

    def test_series_on_other_days_of_the_week(self, tmp_path: Path) -> None:
        days = pd.date_range("2024-01-01", periods=60, freq="7D")
        parts = [
            pd.DataFrame(
                {"day": days + pd.Timedelta(days=3 * i), "shop": name, "sold": np.arange(60.0) % (5 + i)}
            )
            for i, name in enumerate("ab")
        ]
        frame = pd.concat(parts)
        task = opened(tmp_path, frame, group="shop", horizon=3, context=8)
        told = "dates of 1 of 2 series lie between the steps of the others ('b', ...)"
        assert told in " ".join(task.notes()) and told in " ".join(read(task, tmp_path, frame).remarks)
        alike = opened(tmp_path, frame[frame["shop"] == "b"], horizon=3, context=8)
        assert "between the steps" not in " ".join(alike.notes())

    def test_rows_of_the_future_that_are_not_read_as_they_stand(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        again = pd.concat([frame, frame[frame["sold"].isna()].iloc[[0]]])
        said = " ".join(read(task, tmp_path, again).remarks)
        assert "1 rows of the future share a step with another" in said
        assert "share a step" not in " ".join(read(task, tmp_path, frame).remarks)

    def test_values_that_are_missing_in_new_windows(self, tmp_path: Path) -> None:
        frame = frame_of()
        task = opened(tmp_path, frame, **OPTIONS)
        holed = frame.copy()
        known = holed.index[(holed["shop"] == holed["shop"].iloc[0]) & holed["sold"].notna()]
        holed.loc[known[-4:-2], "sold"] = np.nan
        holed.loc[known[-2], "sky"] = None
        said = " ".join(read(task, tmp_path, holed).remarks)
        assert "2 of 36 values of the windows are missing; they repeat the last known one" in said
        assert "1 of" in said and "values of 'sky' are missing, which is a category of its own" in said
