from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.tasks import DataError, open_data, score_reference
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.labelled import LabelledTask

ROWS = 300


def noise(**columns: Any) -> pd.DataFrame:
    """Noise, and a label that has nothing to do with it, sorted."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS)})
    return frame.assign(**columns, label=np.sort(rng.choice(["u", "v"], ROWS)))


def opened(
    path: Path, frame: pd.DataFrame, target: Any = "label", index: bool = False, **options: Any
) -> LabelledTask:
    frame.to_csv(path / "data.csv", index=index)
    task = open_data(path / "data.csv", target, **{"kind": "classify", **options})
    assert isinstance(task, LabelledTask)
    return task


def accuracy(task: LabelledTask) -> float:
    linear = next(one for one in task.references() if one.name == "linear")
    return score_reference(linear.fit(task), task)


def counted(name: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{name: np.arange(1, ROWS + 1)})


IDS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as R writes it": lambda frame: pd.DataFrame({"": np.arange(1, ROWS + 1)}).join(frame),
    "called X": lambda frame: pd.DataFrame({"X": np.arange(1, ROWS + 1)}).join(frame),
    "pandas": lambda frame: frame.reset_index(names="Unnamed: 0"),
    "of a filter": lambda frame: frame.assign(index=np.arange(ROWS) * 3 + np.arange(ROWS) % 2),
    "drawn with repeats": lambda frame: (
        frame.reset_index(names="Unnamed: 0")
        .sample(frac=1, replace=True, random_state=0, ignore_index=True)
        .sort_values("label")
    ),
    "shuffled": lambda frame: frame.reset_index(names="Unnamed: 0").sample(frac=1, random_state=0),
    "id": counted("id"),
    "ID of words": lambda frame: frame.assign(patientID=7 * np.arange(ROWS) + 10_000),
    "counting under any name": counted("whatever"),
    "shuffled under any name": lambda frame: counted("whatever")(frame).sample(frac=1, random_state=0),
    "in steps": lambda frame: frame.assign(whatever=10 * np.arange(ROWS)),
    "nearly counting": lambda frame: frame.assign(whatever=np.cumsum(np.arange(ROWS) % 4 + 1)),
    "of groups": lambda frame: frame.assign(subject=np.arange(ROWS) // 10),
    "uuid": lambda frame: frame.assign(uuid=[f"{i:08x}-0000-4000-8000-000000000000" for i in range(ROWS)]),
}


@pytest.mark.parametrize("how", IDS)
def test_what_tells_rows_apart_is_no_input(tmp_path: Path, how: str) -> None:
    task = opened(tmp_path, IDS[how](noise()))
    assert task.describe()["columns"] == ["a", "b"]
    assert accuracy(task) < 0.65
    (note,) = [note for note in task.notes() if note.startswith("left out:")]
    assert "keep=" in note or "texts that hardly repeat" in note


def test_a_row_number_kept_is_an_input(tmp_path: Path) -> None:
    task = opened(tmp_path, noise(id=np.arange(ROWS)), keep="id")
    assert task.describe()["columns"] == ["a", "b", "id"] and accuracy(task) > 0.9
    with pytest.raises(DataError, match="keep: column 'city' of .* holds no numbers"):
        opened(tmp_path, noise(city="Rome"), keep="city")


MEASURES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "different floats": lambda rng: rng.normal(size=ROWS),
    "rising floats": lambda rng: np.sort(rng.normal(size=ROWS)),
    "large whole numbers": lambda rng: rng.integers(0, 10**9, ROWS),
    "a time in seconds": lambda rng: 1_700_000_000 + np.cumsum(rng.integers(1, 90_000, ROWS)),
    "a sum that grows": lambda rng: np.cumsum(rng.integers(0, 500, ROWS)),
    "small whole numbers": lambda rng: rng.integers(0, 90, ROWS),
    "sorted ages": lambda rng: np.sort(rng.integers(18, 90, ROWS)),
    "sorted ages, dense": lambda rng: np.repeat(np.arange(18, 93), 4),
}


@pytest.mark.parametrize("what", MEASURES)
def test_measures_stay_inputs(tmp_path: Path, what: str) -> None:
    rng = np.random.default_rng(1)
    frame = noise(c=MEASURES[what](rng))
    frame["label"] = np.where(rng.random(ROWS) < np.linspace(0.1, 0.9, ROWS), "u", "v")
    task = opened(tmp_path, frame)
    assert "c" in task.describe()["columns"]


def test_an_input_that_rises_like_the_labels_is_pointed_out(tmp_path: Path) -> None:
    frame = noise(stamp=np.cumsum(np.random.default_rng(0).integers(1, 90_000, ROWS)))
    (note,) = [note for note in opened(tmp_path, frame).notes() if "rises or falls" in note]
    assert note.endswith("drop='stamp' leaves it out")
    task = opened(tmp_path, frame, drop="stamp")
    assert "left out: 'stamp', as was asked" in task.notes() and task.describe()["columns"] == ["a", "b"]
    with pytest.raises(ValueError, match="drop leaves out 'label', which is asked for elsewhere"):
        opened(tmp_path, frame, drop=["label"])


class TestTexts:
    def fraud(self, **more: Any) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        return pd.DataFrame(
            {
                "category": rng.choice(["food", "travel"], 100),
                "country": rng.choice(["DE", "FR"], 100),
                "timestamp": [f"2024-01-{i % 28 + 1:02}T10:00:{i % 60:02}" for i in rng.permutation(100)],
                **more,
                "label": rng.choice(["y", "n"], 100),
            }
        )

    def test_all_that_is_left_out_is_listed(self, tmp_path: Path) -> None:
        task = opened(tmp_path, self.fraud(amount=np.arange(100) ** 2 % 997))
        assert task.describe()["columns"] == ["amount", "category", "country"]
        notes = " | ".join(task.notes())
        assert "'category' is read as a category of 2 values" in notes
        assert "left out: 'timestamp', of dates" in notes

    def test_dates_and_ids_are_no_text(self, tmp_path: Path) -> None:
        ids = {"code": [f"K{i:05}" for i in range(100)]}
        for frame in (self.fraud(), self.fraud(**ids)):
            with pytest.raises(
                DataError, match="no numeric column besides the target.*'timestamp', of dates"
            ):
                opened(tmp_path, frame.drop(columns=["category", "country"]))

    def test_the_only_text_is_read_and_of_two_one_is_asked_for(self, tmp_path: Path) -> None:
        remark = [f"paid at the {'bar' if i % 3 else 'desk'} for {i}" for i in range(100)]
        task = opened(tmp_path, self.fraud(remark=remark))
        assert task.describe()["text"] == "remark" and task.vocab_size == 256
        assert any("left out: 'category', 'country', 'timestamp'" in note for note in task.notes())
        with pytest.raises(DataError, match="2 of text: give text='remark' or text='other'"):
            opened(tmp_path, self.fraud(remark=remark, other=remark[::-1]))
        with_numbers = self.fraud(remark=remark, amount=np.arange(100) ** 2 % 997)
        assert opened(tmp_path, with_numbers).describe()["columns"] == ["amount", "category", "country"]
        named = opened(tmp_path, with_numbers, text="remark")
        assert named.describe()["text"] == "remark" and any("'amount'" in note for note in named.notes())


def series(n: int = 200, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2023-01-01", periods=n).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": days, "y": rng.normal(size=n), **columns})


class TestArrays:
    def saved(self, path: Path, *shape: int) -> tuple[Path, np.ndarray]:
        x = np.random.default_rng(0).normal(size=shape)
        np.savez(path / "a.npz", x=x, y=np.arange(len(x)) % 2)
        return path / "a.npz", x

    def test_the_axis_of_time_is_asked_for_where_it_is_in_doubt(self, tmp_path: Path) -> None:
        path, _ = self.saved(tmp_path, 60, 3, 50)
        with pytest.raises(
            DataError, match=r"\(60, 3, 50\): give axes='NFT' if it is 3 features over 50 steps"
        ):
            open_data(path)
        by_axes = {axes: open_data(path, axes=axes) for axes in ("NFT", "NTF")}
        assert by_axes["NFT"].train_length == 50 and by_axes["NTF"].train_length == 3

    def test_new_arrays_are_read_in_the_same_way(self, tmp_path: Path) -> None:
        path, x = self.saved(tmp_path, 60, 3, 50)
        task = open_data(path, axes="NFT")
        assert isinstance(task, LabelledTask) and task.encoding is not None
        unseen = task.encoding.read(path)
        first = task.encoding.standard.encode(x.transpose(0, 2, 1))[0]  # type: ignore[union-attr]
        assert unseen.batch.x.shape == (60, 50, 3) and np.allclose(unseen.batch.x[0], first, atol=1e-6)

    def test_what_is_taken_for_time_is_said(self, tmp_path: Path) -> None:
        path, _ = self.saved(tmp_path, 60, 50, 3)
        assert (
            "x is read as 50 steps of 3 features; axes='NFT' reads it the other way"
            in open_data(path).notes()
        )
        path, _ = self.saved(tmp_path, 60, 1, 50)
        assert (
            "x is read as 50 steps of 1 features; axes='NTF' reads it the other way"
            in open_data(path).notes()
        )


def test_options_that_do_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="horizon does not apply to rows that are classified or regressed, got 3"
    ):
        opened(tmp_path, noise(), horizon=3)
    series().to_csv(tmp_path / "series.csv", index=False)
    with pytest.raises(ValueError, match="length does not apply to forecasts, got 3"):
        open_data(tmp_path / "series.csv", "y", length=3)
    with pytest.raises(ValueError, match="axes does not apply to tables"):
        open_data(tmp_path / "series.csv", "y", axes="NTF")


def test_one_huge_number_that_drowns_the_others_is_pointed_out(tmp_path: Path) -> None:
    frame = noise()
    frame.loc[3, "b"] = 1e50
    assert any("'b' has values so large (up to 1e+50)" in note for note in opened(tmp_path, frame).notes())


def shops(seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Four shops of forty days each, one below the other, with noise."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {"shop": np.repeat([*"ABCD"], 40), "day": np.tile(days, 4), "x": rng.normal(size=160)}
    )
    return frame.assign(**columns)


COUNTERS: dict[str, np.ndarray] = {
    "from 1 in each group": np.tile(np.arange(1, 41), 4),
    "from 0 in each group, by tens": np.tile(np.arange(0, 400, 10), 4),
    "down in each group": np.tile(np.arange(40, 0, -1), 4),
    "of the file": np.arange(160),
    "with a few gaps": np.tile(np.delete(np.arange(43), [5, 17, 30]), 4),
    "ids with gaps": 1000 + np.cumsum(np.random.default_rng(0).integers(1, 8, 160)),
    "ids in any order": np.random.default_rng(0).permutation(160) + 7,
}


@pytest.mark.parametrize("how", COUNTERS)
@pytest.mark.parametrize("order", ["by shop", "by day", "shuffled"])
@pytest.mark.parametrize("target", [None, "x"])
def test_what_counts_in_groups_is_neither_forecast_nor_an_input(
    tmp_path: Path, how: str, order: str, target: str | None
) -> None:
    frame = shops(whatever=COUNTERS[how])
    if order != "by shop":
        frame = (
            frame.sort_values("day", kind="stable")
            if order == "by day"
            else frame.sample(frac=1, random_state=0)
        )
    frame.to_csv(tmp_path / "data.csv", index=False)
    task = open_data(tmp_path / "data.csv", target, group="shop")
    assert isinstance(task, ForecastTask)
    assert task.columns == task.targets == ["x"]
    (note,) = [note for note in task.notes() if note.startswith("left out:")]
    assert "'whatever'" in note and "keep='whatever' takes it" in note
    kept = open_data(tmp_path / "data.csv", "x", group="shop", keep="whatever")
    assert isinstance(kept, ForecastTask) and set(kept.columns) == {"x", "whatever"}
    named = open_data(tmp_path / "data.csv", "whatever", group="shop")
    assert isinstance(named, ForecastTask) and named.targets == ["whatever"]


@pytest.mark.parametrize(
    "values",
    [
        np.tile(np.cumsum(np.random.default_rng(1).integers(0, 3, 40)), 4),
        np.concatenate([np.cumsum(np.random.default_rng(i).integers(1, 8, 40)) for i in range(4)]),
        np.tile(np.arange(40) % 24, 4),
        np.tile(np.arange(40) * 0.5 + 0.25, 4),
        np.repeat([3, 1, 4, 2], 40),
    ],
)
def test_sums_hours_and_facts_of_groups_count_nothing(tmp_path: Path, values: np.ndarray) -> None:
    shops(whatever=values).to_csv(tmp_path / "data.csv", index=False)
    task = open_data(tmp_path / "data.csv", "x", group="shop")
    assert isinstance(task, ForecastTask)
    assert {*task.columns, *task.encoding.covariates.static} == {"x", "whatever"}


def test_a_sum_that_grows_in_a_single_series_is_forecast(tmp_path: Path) -> None:
    total = np.cumsum(np.random.default_rng(0).integers(1, 8, 40))
    shops(total=np.tile(total, 4))[:40].to_csv(tmp_path / "data.csv", index=False)
    task = open_data(tmp_path / "data.csv", ["x", "total"])
    assert isinstance(task, ForecastTask) and task.targets == ["x", "total"]
    task = open_data(tmp_path / "data.csv")
    assert isinstance(task, ForecastTask) and set(task.targets) == {"x", "total"}


def test_a_series_that_only_counts_is_forecast_all_the_same(tmp_path: Path) -> None:
    shops().assign(x=np.arange(160))[:40].to_csv(tmp_path / "data.csv", index=False)
    task = open_data(tmp_path / "data.csv")
    assert isinstance(task, ForecastTask) and task.targets == ["x"]


def test_places_in_groups_with_a_label_are_no_inputs(tmp_path: Path) -> None:
    frame = pd.concat([shops(i, place=np.tile(np.arange(1, 41), 4)).assign(shop=f"{i}") for i in range(24)])
    frame = frame.drop_duplicates(["shop", "day"]).assign(label=lambda rows: rows["shop"].astype(int) % 2)
    frame.to_csv(tmp_path / "data.csv", index=False)
    task = open_data(tmp_path / "data.csv", "label", group="shop", kind="classify")
    assert task.describe()["columns"] == ["x"]
    assert any("'place', counting the rows of each group" in note for note in task.notes())
