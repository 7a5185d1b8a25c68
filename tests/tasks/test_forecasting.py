from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.dates.calendar import infer_step
from anyformer.tasks import DataError, open_data, score_reference
from anyformer.tasks.base import SPLITS
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.steps import Series


def wave(n: int, season: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 20 + 5 * np.sin(2 * np.pi * np.arange(n) / season) + 0.3 * rng.standard_normal(n)


def daily(n: int = 400, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"day": pd.date_range("2022-01-01", periods=n).strftime("%Y-%m-%d"), "y": wave(n), **columns}
    )


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    path = folder / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def opened(folder: Path, frame: pd.DataFrame, target: Any = "y", **options: Any) -> ForecastTask:
    task = open_data(saved(folder, frame), target, **options)
    assert isinstance(task, ForecastTask)
    return task


class TestWindows:
    @settings(deadline=None, max_examples=25)
    @given(st.integers(80, 400), st.integers(1, 3), st.floats(0, 0.3), st.integers(0, 5))
    def test_no_value_is_in_two_splits_and_no_window_in_two_series(
        self, n: int, count: int, gone: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        series = []
        for i in range(count):
            values = rng.standard_normal((n, 2))
            values[rng.random((n, 2)) < gone] = np.nan
            series.append(Series(values, i, str(i)))
        task = ForecastTask(series, ["y", "z"], ["y"], name="random", context=4, horizon=2)
        rows = {}
        for split in SPLITS:
            starts = task._starts[split]
            covered = starts[:, None] + np.arange(6)
            assert (task._owner[covered] == task._owner[starts][:, None]).all()
            rows[split] = set(task._grid[covered].ravel().tolist())
        assert max(rows["train"]) < min(rows["valid"]) and max(rows["valid"]) < min(rows["test"])

    def test_the_future_changes_neither_inputs_nor_earlier_splits(self, tmp_path: Path) -> None:
        frame, changed = daily(), daily()
        changed.loc[330:, "y"] = 1e6
        one, other = opened(tmp_path, frame), opened(tmp_path, changed)
        for split in ("train", "valid"):
            for a, b in zip(one.eval_batches(split, 64), other.eval_batches(split, 64)):  # type: ignore[arg-type]
                assert torch.equal(a.x, b.x) and torch.equal(a.targets, b.targets)

    def test_targets_follow_the_window_in_the_users_units(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"day": pd.date_range("2022-01-01", periods=100), "y": np.arange(100.0)})
        task = opened(tmp_path, frame, context=4, horizon=2)
        batch = next(task.eval_batches("train", 3))
        assert batch.scale is not None and batch.shift is not None
        assert (batch.x[:, :, 0] * batch.scale[:, :, 0] + batch.shift[:, :, 0]).tolist() == [
            pytest.approx([i, i + 1, i + 2, i + 3], abs=1e-5) for i in range(3)
        ]
        exact = batch.in_units(batch.targets)
        assert exact[:, :, 0].tolist() == [pytest.approx([i + 4, i + 5], abs=1e-5) for i in range(3)]
        assert batch.scale[0, 0, 0] == pytest.approx(1.118, abs=1e-3)  # the docstring's 10 11 12 13
        outputs = batch.targets.flatten(1) + 2 / batch.scale.flatten(1)
        assert task.metric.value(task.metric.measure(outputs, batch.target)) == pytest.approx(2, rel=1e-5)

    def test_train_batches_are_shuffled_epochs(self, tmp_path: Path) -> None:
        task = opened(tmp_path, daily(), seed=5)
        size = task.size("train")
        firsts = torch.cat([task.train_batch(step, size).x[:, 0, 0] for step in (0, 1)])
        assert torch.equal(firsts[:size].sort().values, firsts[size:].sort().values)
        assert not torch.equal(firsts[:size], firsts[size:])
        again = opened(tmp_path, daily(), seed=5)
        assert torch.equal(again.train_batch(31, 8).x, task.train_batch(31, 8).x)


class TestMissing:
    def test_gaps_and_missing_values_are_counted_and_named(self, tmp_path: Path) -> None:
        frame = daily(other=wave(400, 5))
        frame.loc[[3, 50, 51], "other"] = np.nan
        frame = frame.drop(index=range(100, 104)).drop(index=[200])
        task = opened(tmp_path, frame)
        notes = " | ".join(task.notes())
        assert (
            "3 of 790 values are missing (0.4 %), in 'other' (3); as input they repeat the last known"
            in notes
        )
        assert "5 steps of 1 day are absent from 'day' (the first at 2022-04-11); treated as missing" in notes
        assert task.describe()["missing"] == {"y": 5, "other": 8} and task.num_features == 4

    def test_unknown_targets_do_not_count_and_inputs_are_marked(self, tmp_path: Path) -> None:
        frame = daily(60)
        frame.loc[10, "y"] = np.nan
        task = opened(tmp_path, frame, context=4, horizon=2)
        batch = next(task.eval_batches("train", 100))
        assert batch.x.isfinite().all()
        assert batch.targets[6].isnan().flatten().tolist() == [True, False] or (
            batch.targets[5].isnan().flatten().tolist() == [False, True]
        )
        assert batch.x[7, 3].tolist() == [float(batch.x[7, 2, 0]), 1.0]  # row 10 repeats row 9, and is marked
        outputs = torch.zeros(len(batch), 2)
        assert task.metric.measure(outputs, batch.target)[:, 1].sum() == 2 * len(batch) - 2

    def test_values_before_the_first_known_do_not_look_ahead(self, tmp_path: Path) -> None:
        frame = daily(200, late=wave(200))
        frame.loc[:150, "late"] = np.nan
        batch = next(opened(tmp_path, frame, context=4, horizon=2).eval_batches("train", 4))
        assert not batch.x[:, :, 1].any() and (batch.x[:, :, 3] == 1).all()


class TestDates:
    @pytest.mark.parametrize(
        "dates, step",
        [
            (pd.date_range("2020-01-01", periods=60), "1 day"),
            (pd.date_range("2020-01-01", periods=60, freq="h"), "1 hour"),
            (pd.date_range("2020-01-01", periods=60, freq="15min"), "15 minutes"),
            (pd.date_range("2020-01-01", periods=60, freq="W"), "1 week"),
            (pd.date_range("2020-01-01", periods=60, freq="B"), "1 working day"),
            (pd.date_range("2020-01-01", periods=60, freq="MS"), "1 month"),
            (pd.date_range("2020-01-01", periods=60, freq="ME"), "1 month"),
            (pd.date_range("2000-01-01", periods=40, freq="QS"), "1 quarter"),
            (pd.date_range("1950-01-01", periods=60, freq="YS"), "1 year"),
        ],
    )
    def test_the_step_is_found_with_rows_absent(self, dates: pd.DatetimeIndex, step: str) -> None:
        stamps = dates.to_numpy().astype("datetime64[us]")
        for kept in (stamps, np.delete(stamps, [4, 5, 20])):
            found, regular = infer_step(kept)
            assert str(found) == step and regular
            places = found.index(stamps, stamps[0])
            assert places.tolist() == list(range(len(stamps)))
            if "month" not in step and "quarter" not in step and "year" not in step:
                assert found.date(9, stamps[0]) == stamps[9]

    @pytest.mark.parametrize(
        "style", ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%b %d, %Y", "%Y-%m-%dT%H:%MZ"]
    )
    def test_styles_of_dates(self, tmp_path: Path, style: str) -> None:
        frame = daily(120)
        frame["day"] = pd.to_datetime(frame["day"]).dt.strftime(style)
        task = opened(tmp_path, frame)
        assert task.describe()["step"] == "1 day" and task.describe()["absent_steps"] == 0

    def test_numbers_that_count_time(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"year": range(1900, 2020), "y": wave(120)})
        assert opened(tmp_path, frame, date="year").describe()["step"] == "1 year"
        seconds = pd.DataFrame({"t": 1_600_000_000 + 3600 * np.arange(200), "y": wave(200)})
        assert opened(tmp_path, seconds, date="t").describe()["step"] == "1 hour"
        by_row = opened(tmp_path, seconds, kind="forecast", date="none")
        assert "no column of dates: rows are taken in order, one step each" in by_row.notes()

    def test_unsorted_and_repeated_rows(self, tmp_path: Path) -> None:
        frame = pd.concat([daily(), daily().iloc[:2]]).sample(frac=1, random_state=0)
        notes = " | ".join(opened(tmp_path, frame).notes())
        assert "rows were not in the order of 'day' and have been sorted" in notes
        assert "2 rows share a step of 1 day with another and have been averaged" in notes
        assert np.allclose(opened(tmp_path, frame)._values[:, 0], wave(400))

    def test_jittered_times_are_put_on_a_grid(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        times = pd.to_datetime(60 * np.arange(300) + rng.uniform(-5, 5, 300), unit="s", origin="2024-01-01")
        task = opened(tmp_path, pd.DataFrame({"time": times, "y": wave(300)}))
        assert task.describe()["step"] == "1 minute"

    def test_parquet(self, tmp_path: Path) -> None:
        frame = daily()
        frame["day"] = pd.to_datetime(frame["day"])
        path = saved(tmp_path, frame, "data.parquet")
        indexed = tmp_path / "indexed.parquet"
        frame.set_index("day").to_parquet(indexed)
        for file in (path, indexed):
            assert open_data(file, "y").describe()["step"] == "1 day"

    def test_some_unreadable_dates_are_left_out_and_counted(self, tmp_path: Path) -> None:
        frame = daily()
        frame.loc[::50, "day"] = "??"
        task = opened(tmp_path, frame)
        assert "8 rows have no readable date or group and are left out" in task.notes()

    def test_a_gap_of_years_does_not_swallow_a_split(self, tmp_path: Path) -> None:
        frame = daily()
        later = pd.date_range("2032-01-01", periods=200).strftime("%Y-%m-%d")
        frame.loc[200:, "day"] = later
        task = opened(tmp_path, frame)
        assert min(task.size(split) for split in SPLITS) > 10

    def test_events_at_random_times_are_averaged_over_steps(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        seconds = rng.exponential(3600, 300).cumsum()
        times = pd.Timestamp("2023-01-01") + pd.to_timedelta(seconds, unit="s")
        task = opened(tmp_path, pd.DataFrame({"time": times, "y": wave(300)}))
        notes = " | ".join(task.notes())
        assert "dates in 'time' are irregular: values are averaged over steps of" in notes
        for reference in task.references():
            assert score_reference(reference.fit(task), task) > 0

    def test_decimal_commas(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        days = daily(60)["day"]
        path.write_text("day;y\n" + "".join(f"{day};{i},5\n" for i, day in enumerate(days)))
        task = open_data(path, "y")
        assert isinstance(task, ForecastTask) and task._values[:3, 0].tolist() == [0.5, 1.5, 2.5]
        assert "commas in 'y' are read as decimal points: 0,5 is 0.5" in task.notes()


class TestGroups:
    def test_each_series_has_windows_of_its_own(self, tmp_path: Path) -> None:
        frame = pd.concat([daily(200, shop="a"), daily(200, shop="b")])
        task = opened(tmp_path, frame, group="shop")
        assert task.describe()["series"] == 2

    def test_the_column_that_tells_series_apart_is_suggested(self, tmp_path: Path) -> None:
        frame = pd.concat([daily(200, shop="a"), daily(200, shop="b")])
        with pytest.raises(
            DataError, match=r"50% of the dates in 'day' repeat; 'shop' seems .*: give group='shop'"
        ):
            opened(tmp_path, frame)


class TestReferences:
    def test_the_season_is_found_and_helps(self, tmp_path: Path) -> None:
        task = opened(tmp_path, daily())
        assert task.season == 7
        assert any("a season of 7 steps (1 week) found" in note for note in task.notes())
        scores = {}
        for reference in task.references():
            scores[reference.name] = score_reference(reference.fit(task), task)
        assert scores["linear"] < scores["seasonal naive"] < scores["window mean"]
        assert scores["seasonal naive"] < 0.5 < scores["last value"]

    def test_last_value_and_seasonal_by_hand(self, tmp_path: Path) -> None:
        task = opened(tmp_path, daily(other=wave(400, 3)), ["y", "other"], horizon=9)
        batch = next(task.eval_batches("test", 2))
        last, seasonal, mean, linear = (reference.fit(task) for reference in task.references()[:4])
        assert torch.equal(last.predict(batch).view(2, 9, 2)[:, 4], batch.x[:, -1])
        assert torch.equal(seasonal.predict(batch).view(2, 9, 2)[:, 8], batch.x[:, -7 + 1])
        assert mean.predict(batch).abs().max() < 1e-5
        assert linear.predict(batch).shape == (2, 18)
        assert task.metric.name == "MASE"

    def test_noise_has_no_season(self, tmp_path: Path) -> None:
        frame = daily()
        frame["y"] = np.random.default_rng(0).standard_normal(400)
        task = opened(tmp_path, frame)
        assert task.season is None and [r.name for r in task.references()][:3] == [
            "last value",
            "window mean",
            "linear",
        ]


class TestWrong:
    def test_a_target_that_is_not_numeric(self, tmp_path: Path) -> None:
        frame = daily(city=["Rome", "Oslo"] * 200)
        with pytest.raises(
            DataError, match=r"target: column 'city' of .* is not numeric \(it holds 'Rome'\); a forecast"
        ):
            opened(tmp_path, frame, "city")

    def test_a_misspelt_column(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"target: .* has no column 'levle'; did you mean 'level'\?"):
            opened(tmp_path, daily(level=wave(400)), "levle")
        with pytest.raises(DataError, match=r"date: .* has no column 'dya'; did you mean 'day'"):
            opened(tmp_path, daily(), date="dya")
        with pytest.raises(DataError, match=r"date: column 'y' of .* does not hold dates, got 20\."):
            opened(tmp_path, daily(), None, date="y")

    def test_too_short(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="data: 20 time steps are too short; at least 30 are needed"):
            opened(tmp_path, daily(20))
        for n in (30, 31, 40, 75, 150):
            task = opened(tmp_path, daily(n))
            assert all(task.size(split) >= 1 for split in SPLITS)

    def test_windows_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"context 100 \+ horizon 7 are longer than the 80 steps of a test split"
        ):
            opened(tmp_path, daily(), context=100)
        with pytest.raises(ValueError, match="horizon must be an integer at least 1, got 0"):
            opened(tmp_path, daily(), horizon=0)

    def test_nothing_but_missing_values(self, tmp_path: Path) -> None:
        frame = daily()
        frame["y"] = np.nan
        with pytest.raises(DataError, match="target: column 'y' of .* holds no number at all"):
            opened(tmp_path, frame)

    def test_few_stand_ins_for_missing_numbers_are_borne(self, tmp_path: Path) -> None:
        frame = daily()
        frame["y"] = frame["y"].astype(object)
        frame.loc[[5, 6], "y"] = "broken"
        assert (
            "2 values of 'y' are not numbers (first: 'broken' in row 6) and count as missing"
            in opened(tmp_path, frame).notes()
        )


class TestFuture:
    """Rows after the end that hold only what is known ahead."""

    def table(self, ends: dict[str, int], shops: int = 1) -> pd.DataFrame:
        """120 days of each shop; columns without values in their last rows."""
        parts = []
        for shop in range(shops):
            part = daily(120, z=wave(120, seed=shop + 5), price=wave(120, seed=9)).assign(shop=f"s{shop}")
            for name, rows in ends.items():
                part.loc[part.index[120 - rows :], name] = np.nan
            parts.append(part)
        frame = pd.concat(parts, ignore_index=True)
        return frame if shops > 1 else frame.drop(columns="shop")

    @pytest.mark.parametrize("shops", [1, 3])
    @pytest.mark.parametrize("order", ["rising", "shuffled"])
    @pytest.mark.parametrize("measured", [["y"], ["y", "z"]])
    def test_what_ends_before_the_others_is_forecast_from_there(
        self, tmp_path: Path, shops: int, order: str, measured: list[str]
    ) -> None:
        frame = self.table(dict.fromkeys(measured, 14), shops)
        if order == "shuffled":
            frame = frame.sample(frac=1, random_state=0)
        options = {"group": "shop"} if shops > 1 else {}
        task = opened(tmp_path, frame, None, **options)
        assert task.targets == measured and len(task._values) == 106 * shops
        notes = " ".join(task.notes())
        assert "target not given" in notes and "target=['y', 'z', 'price'] forecasts all" in notes
        assert f"the last {14 * shops} rows have no" in notes and "'price'" in notes
        every = opened(tmp_path, frame, ["y", "z", "price"], **options)
        assert len(every._values) == 120 * shops

    def test_one_last_value_or_unlike_ends_are_said_and_change_nothing(self, tmp_path: Path) -> None:
        for ends in ({"y": 1}, {"y": 9, "z": 4}):
            task = opened(tmp_path, self.table(ends), None)
            assert task.targets == ["y", "z", "price"] and len(task._values) == 120
            for name, rows in ends.items():
                said = f"{name!r} has no values in the last {rows} rows, where others have"
                assert any(
                    said in note and f"target='{name}' forecasts it from where" in note
                    for note in task.notes()
                )

    def test_a_gap_at_the_end_of_one_shop_is_none_of_all(self, tmp_path: Path) -> None:
        frame = self.table({}, 3)
        frame.loc[frame.index[-14:], "y"] = np.nan
        task = opened(tmp_path, frame, None, group="shop")
        assert task.targets == ["y", "z", "price"] and len(task._values) == 360


class TestQuantiles:
    def test_the_metric_is_the_quantile_loss_and_of_several_columns_a_scaled_one(
        self, tmp_path: Path
    ) -> None:
        one = opened(tmp_path, daily(other=wave(400, 5)), quantiles=[0.1, 0.5, 0.9])
        assert one.metric.info.name == "quantile loss" and one.metric.info.unit == "y"
        two = opened(tmp_path, daily(other=wave(400, 5)), ["y", "other"], quantiles=[0.1, 0.9])
        assert two.metric.info.name == "scaled quantile loss"
        assert two.objective.num_outputs == two.horizon * 2 * 2 and two.describe()["quantiles"] == [0.1, 0.9]
        assert [metric.id for metric in one.beside] == ["coverage", "mae"]
        assert [metric.id for metric in two.beside] == ["coverage"]
        assert opened(tmp_path, daily()).beside == ()
        one.rank_by("mae")
        assert one.metric.info.name == "MAE" and [metric.id for metric in one.beside] == ["coverage"]
        with pytest.raises(ValueError, match="metric: nothing is ranked by 'coverage'"):
            one.rank_by("coverage")

    @pytest.mark.parametrize(
        "levels", [[0.5, 0.1], [0, 0.5], [0.5, 1.2], [], [0.5, 0.5], ["low"], [float("nan")]]
    )
    def test_levels_ascend_between_0_and_1(self, tmp_path: Path, levels: list[Any]) -> None:
        with pytest.raises(ValueError, match="quantiles must be numbers between 0 and 1 in ascending order"):
            opened(tmp_path, daily(), quantiles=levels)

    def test_rows_have_none(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match="quantiles does not apply to rows that are classified or regressed"
        ):
            opened(tmp_path, daily(), kind="regress", quantiles=[0.5])


class TestSeveralSeries:
    def test_errors_are_scaled_by_each_series_and_the_constant_by_the_others(self, tmp_path: Path) -> None:
        """What counts is how much a series changes, not how large it is."""
        day = daily()["day"]
        small, large = wave(400), 1000 * wave(400, seed=1)
        still = np.r_[np.full(240, 3.0), wave(160, seed=2)]
        frame = pd.concat(
            pd.DataFrame({"day": day, "shop": name, "y": y}) for name, y in zip("abc", (small, large, still))
        )
        task = opened(tmp_path, frame, group="shop", horizon=4)
        assert task.metric.name == "MASE" and task.season == 7
        batch = task.sample("test", 10_000)
        owners = task._strata("test", 0)[task.subset("test", 10_000)]
        assert batch.difference is not None
        found = [float(batch.difference[owners == owner].unique()) for owner in range(3)]
        train = slice(0, 240)
        expected = [np.abs(y[train][7:] - y[train][:-7]).mean() for y in (small, large)]
        assert found == pytest.approx([*expected, np.mean(expected)])
        assert any(
            "1 series ('c') do not change in the training part or are not in it" in n for n in task.notes()
        )
        last = task.references()[1].fit(task)
        errors = task.metric.items(last.predict(batch), batch.target)[:, 0] / 4
        means = [float(errors[owners == owner].mean()) for owner in range(2)]
        assert means[0] == pytest.approx(means[1], rel=0.4)  # and not a thousandth
        task.rank_by("mae")
        assert task.metric.name == "MAE"

    def test_quantiles_are_scaled_too(self, tmp_path: Path) -> None:
        frame = pd.concat(daily().assign(shop=shop) for shop in "ab")
        assert (
            opened(tmp_path, frame, group="shop", quantiles=[0.1, 0.9]).metric.name == "scaled quantile loss"
        )


class TestReachBack:
    def test_only_horizons_keep_to_their_split(self, tmp_path: Path) -> None:
        plain = opened(tmp_path, daily(), context=30, horizon=5)
        task = opened(tmp_path, daily(), context=30, horizon=5, reach_back=True)
        for split in SPLITS[1:]:
            low, high = (task._cuts[SPLITS.index(split) + end] for end in (0, 1))
            starts = task._starts[split]
            assert (starts.min() + 30, starts.max() + 35) == (low, high)
            assert len(starts) == len(plain._starts[split]) + 30
        assert np.array_equal(task._starts["train"], plain._starts["train"])

    def test_windows_shorter_than_a_season_reach_back_unless_told_otherwise(self, tmp_path: Path) -> None:
        months = pd.date_range("2000-01", periods=144, freq="MS").strftime("%Y-%m-%d")
        frame = pd.DataFrame({"month": months, "y": wave(144, 12)})
        task = opened(tmp_path, frame, horizon=12)
        assert task.season == 12 and task.context >= 24
        assert any(reference.name == "seasonal naive" for reference in task.references())
        assert any("windows reach back over the borders" in note for note in task.notes())
        inside = opened(tmp_path, frame, horizon=12, reach_back=False)
        assert inside.context == 7 and not any("reach back" in note for note in inside.notes())
        for long in (daily(), daily(100)):  # windows of one split are long enough
            task = opened(tmp_path, long)
            assert not task._reach_back and task.context >= max(task.season or 0, task.horizon)

    def test_a_window_may_be_longer_than_a_split(self, tmp_path: Path) -> None:
        assert opened(tmp_path, daily(100), context=30, horizon=5, reach_back=True).size("test") == 16
        with pytest.raises(
            DataError, match="context 30 . horizon 5 are longer than the 20 steps of a test split"
        ):
            opened(tmp_path, daily(100), context=30, horizon=5)
