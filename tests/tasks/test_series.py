"""Rows with dates as series: futures, groups, targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_columns import series

from anyformer.tasks import DataError, open_data
from anyformer.tasks.forecasting import ForecastTask


class TestSeries:
    def opened(self, path: Path, frame: pd.DataFrame, target: Any = "y", **options: Any) -> ForecastTask:
        frame.to_csv(path / "data.csv", index=False)
        task = open_data(path / "data.csv", target, **options)
        assert isinstance(task, ForecastTask)
        return task

    def test_rows_after_the_last_known_target_are_the_future(self, tmp_path: Path) -> None:
        frame = series(temperature=np.arange(200) % 9, city="Rome")
        frame.loc[193:, "y"] = np.nan
        task = self.opened(tmp_path, frame)
        said = (
            "the last 7 rows have no 'y': they are the future to be forecast; 'temperature', known there, is"
        )
        assert any(said in note for note in task.notes()) and len(task._values) == 193
        unseen = task.encoding.read(tmp_path / "data.csv")
        assert unseen.names["day"].tolist()[0] == frame["day"][193]
        assert any(said in remark for remark in unseen.remarks)
        shift = unseen.batch.shift
        assert shift is not None
        assert float(shift[0, 0, 0]) == pytest.approx(frame["y"][193 - task.context : 193].mean())

    def test_each_series_has_a_future_of_its_own(self, tmp_path: Path) -> None:
        one, other = series(shop="a"), series(shop="b")
        other.loc[150:, "y"] = np.nan
        task = self.opened(tmp_path, pd.concat([one, other]), group="shop")
        names = task.encoding.read(tmp_path / "data.csv").names
        assert names.groupby("shop")["day"].first().to_dict() == {"a": "2023-07-20", "b": one["day"][150]}

    def test_several_columns_tell_series_apart(self, tmp_path: Path) -> None:
        parts = [series(shop=shop, item=item) for shop in ("a", "b") for item in (1, 2)]
        for group in (["shop", "item"], "shop,item"):
            task = self.opened(tmp_path, pd.concat(parts), group=group)
            assert task.describe()["series"] == 4
        names = task.encoding.read(tmp_path / "data.csv").names
        assert names[["shop", "item"]].drop_duplicates().to_numpy().tolist() == [
            ["a", "1"], ["a", "2"], ["b", "1"], ["b", "2"]
        ]  # fmt: skip
        with pytest.raises(
            DataError, match=r"'item' seems to tell the series apart: give group=\['shop', 'item'\]"
        ):
            self.opened(tmp_path, pd.concat(parts), group="shop")

    def test_the_fewest_series_are_suggested_whatever_values_tell_rows_apart(self, tmp_path: Path) -> None:
        from itertools import product

        sold = [(day, shop, item, region, 100 * shop + 10 * item + 50 * region + i % 7)
                for i, day in enumerate(pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d"))
                for shop, item, region in product((1, 2), (1, 2, 3), (0, 8))]  # fmt: skip
        frame = pd.DataFrame(sold, columns=["day", "shop", "item", "region", "units"])
        with pytest.raises(DataError, match=r"seem to tell .* give group=\['shop', 'item', 'region'\]"):
            self.opened(tmp_path, frame[["units", "day", "shop", "item", "region"]], None)
        with pytest.raises(DataError, match=r"seem to tell .* give group=\['shop', 'item'\]"):
            self.opened(tmp_path, frame[frame["region"] == 0].drop(columns="region"), None)

    def test_what_counts_the_rows_is_forecast_only_where_named(self, tmp_path: Path) -> None:
        frame = series(No=np.arange(1, 201))
        task = self.opened(tmp_path, frame, None)
        assert task.targets == ["y"] and "'No', counting the rows" in " ".join(task.notes())
        assert self.opened(tmp_path, frame, "No").targets == ["No"]
        assert self.opened(tmp_path, frame[["day", "No"]], None).targets == ["No"]

    def test_a_target_that_cannot_be_forecast(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="target: column 'z' of .* is 5 in all rows: nothing to forecast"):
            self.opened(tmp_path, series(z=5), "z")
        with pytest.raises(DataError, match="target: column 'z' of .* holds no number at all"):
            self.opened(tmp_path, series(z=""), "z")
        task = self.opened(tmp_path, series(z=5), None)
        assert task.targets == ["y"] and "'z' never change and are not forecast" in task.notes()

    def test_series_too_short_for_a_window_are_named(self, tmp_path: Path) -> None:
        frame = pd.concat([series(shop="a"), series(9, shop="b"), series(5, shop="c")])
        task = self.opened(tmp_path, frame, group="shop", context=12, horizon=2)
        assert any("fits 2 of the series, which are left out: 'b', 'c'" in note for note in task.notes())

    def test_several_targets_between_commas(self, tmp_path: Path) -> None:
        frame = series(z=np.arange(200) % 7, **{"y,z": np.arange(200) % 5})
        assert self.opened(tmp_path, frame.drop(columns="y,z"), "y, z").targets == ["y", "z"]
        assert self.opened(tmp_path, frame, "y,z").targets == ["y,z"]
        with pytest.raises(DataError, match="target: .* has no column 'w'"):
            self.opened(tmp_path, frame, "y,w")
