"""New data is encoded as the data that a model was trained on, and forecasts begin where the data ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks import DataError, Task, open_data
from anyformer.tasks.base import SPLITS
from anyformer.tasks.encoding import Encoding
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.readers import load_encoding
from anyformer.tasks.unseen import answers, read_unseen


def encoding_of(task: Task) -> Encoding:
    """The task's encoding, by way of what is stored beside a model."""
    import json

    assert task.encoding is not None
    return load_encoding(json.loads(json.dumps(task.encoding.model_dump(mode="json"))))


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def rows(n: int = 120, seed: int = 0, **more: Any) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(5, 3, (n, 3))
    kind = np.where(values[:, 0] > values[:, 1], "high", "low")
    return pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "c": values[:, 2], **more, "kind": kind})


def own_batches(task: LabelledTask) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The task's inputs in the order of its file."""
    size = sum(len(task._index[split]) for split in SPLITS)
    x = torch.zeros(0)
    mask = None
    for split in SPLITS:
        for batch in task.eval_batches(split, 1000):
            if not len(x):
                x = torch.zeros(size, *batch.x.shape[1:], dtype=batch.x.dtype)
                mask = (
                    None if batch.mask is None else torch.zeros(size, batch.mask.shape[1], dtype=torch.bool)
                )
            x[task._index[split]] = batch.x
            if mask is not None and batch.mask is not None:
                mask[task._index[split]] = batch.mask
    return x, mask


def assert_same(path: Path, target: str | None = None, **options: Any) -> None:
    task = open_data(path, target, **options)
    assert isinstance(task, LabelledTask)
    unseen = read_unseen(encoding_of(task), path)
    x, mask = own_batches(task)
    assert torch.equal(unseen.batch.x, x)
    assert (unseen.batch.mask is None) == (mask is None)
    assert mask is None or torch.equal(unseen.batch.mask, mask)  # type: ignore[arg-type]


class TestOwnRows:
    """A file's rows, encoded as new ones, are bit for bit what the task trains on."""

    def test_numbers(self, tmp_path: Path) -> None:
        assert_same(saved(tmp_path, rows()), "kind")

    def test_numbers_with_missing_ones(self, tmp_path: Path) -> None:
        frame = rows()
        frame.loc[[3, 50], "b"] = np.nan
        assert_same(saved(tmp_path, frame), "kind")

    def test_texts(self, tmp_path: Path) -> None:
        texts = [f"{'good' if i % 2 else 'bad'} film number {i} " * (1 + i % 3) for i in range(60)]
        assert_same(saved(tmp_path, pd.DataFrame({"review": texts, "label": [i % 2 for i in range(60)]})))

    def test_groups(self, tmp_path: Path) -> None:
        days = pd.date_range("2024-01-01", periods=8).astype(str)
        parts = [
            pd.DataFrame(
                {"who": f"p{i}", "day": days[: 4 + i % 5], "v": np.arange(4.0 + i % 5) * i, "sick": i % 2}
            )
            for i in range(40)
        ]
        frame = pd.concat(parts).sample(frac=1, random_state=0)
        path = saved(tmp_path, frame)
        task = open_data(path, "sick", group="who", date="day")
        assert isinstance(task, LabelledTask)
        unseen = read_unseen(encoding_of(task), path)
        x, mask = own_batches(task)
        assert torch.equal(unseen.batch.x, x) and mask is not None
        assert torch.equal(unseen.batch.mask, mask)  # type: ignore[arg-type]
        assert unseen.names["who"].nunique() == 40

    @pytest.mark.parametrize("kind", ["tokens", "floats"])
    def test_arrays(self, tmp_path: Path, kind: str) -> None:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 9, (50, 7)) if kind == "tokens" else rng.normal(3, 2, (50, 7, 2))
        np.savez(tmp_path / "data.npz", x=x, y=np.arange(50) % 3)
        assert_same(tmp_path / "data.npz")

    def test_a_forecast_continues_the_last_window(self, tmp_path: Path) -> None:
        """With the last steps cut off, the window is the one whose targets are those steps."""
        frame = daily(200)
        task = open_data(saved(tmp_path, frame), "y", context=16, horizon=4)
        unseen = read_unseen(encoding_of(task), saved(tmp_path, frame[:-4], "earlier.csv"))
        *_, last = task.eval_batches("test", 1)
        assert torch.equal(unseen.batch.x, last.x)
        assert torch.equal(unseen.batch.shift, last.shift)  # type: ignore[arg-type]
        known = answers(encoding_of(task), unseen, last.targets)
        assert known["y"].tolist() == pytest.approx(frame["y"][-4:].tolist(), rel=1e-6)
        assert known["day"].tolist() == frame["day"][-4:].tolist()

    def test_quantiles_have_a_column_each_and_ascend(self, tmp_path: Path) -> None:
        frame = daily(200)
        task = open_data(saved(tmp_path, frame), ["y", "z"], context=16, horizon=4, quantiles=[0.1, 0.75])
        unseen = read_unseen(encoding_of(task), saved(tmp_path, frame[:-4], "earlier.csv"))
        *_, last = task.eval_batches("test", 1)
        right = last.targets[..., None].expand(1, 4, 2, 2) + torch.tensor([0.5, -0.5])  # in the wrong order
        known = answers(encoding_of(task), unseen, right.flatten(1))
        assert list(known) == ["day", "y_q0.1", "y_q0.75", "z_q0.1", "z_q0.75"]
        middle = (known["y_q0.1"] + known["y_q0.75"]) / 2
        assert middle.tolist() == pytest.approx(frame["y"][-4:].tolist(), rel=1e-5)
        assert (known["z_q0.1"] < known["z_q0.75"]).all()


def daily(n: int = 200, start: str = "2023-01-01", **more: Any) -> pd.DataFrame:
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / 7) + np.random.default_rng(0).normal(0, 0.3, n)
    days = pd.date_range(start, periods=n).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": days, "y": values, "z": np.arange(n) * 0.7, **more})


class TestNewRows:
    def test_order_and_other_columns_do_not_matter(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9, seed=1)
        want = read_unseen(encoding, saved(tmp_path, new, "new.csv"))
        shuffled = new[["c", "a", "b"]].assign(comment="x", d=7)
        found = read_unseen(encoding, saved(tmp_path, shuffled, "shuffled.csv"))
        assert torch.equal(found.batch.x, want.batch.x) and len(found.batch) == 9

    def test_a_parquet_file_serves_as_well(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9, seed=1)
        new.to_parquet(tmp_path / "new.parquet")
        want = read_unseen(encoding, saved(tmp_path, new, "new.csv"))
        assert torch.allclose(read_unseen(encoding, tmp_path / "new.parquet").batch.x, want.batch.x)

    def test_the_statistics_are_those_of_training(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9)
        new[["a", "b", "c"]] += 100
        moved = read_unseen(encoding, saved(tmp_path, new, "new.csv")).batch.x
        assert moved.mean() > 20

    def test_missing_values_are_named_where_no_training_row_had_any(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        new = rows(9)
        new.loc[2, "b"] = np.nan
        unseen = read_unseen(encoding, saved(tmp_path, new, "new.csv"))
        assert unseen.batch.x[2, 1, 0] == 0 and unseen.batch.x.shape == (9, 3, 1)
        assert unseen.remarks == ["1 value is missing; it is set to the mean"]

    def test_missing_values_are_named_where_training_rows_had_some(self, tmp_path: Path) -> None:
        old = rows()
        old.loc[:20, "a"] = np.nan
        encoding = encoding_of(open_data(saved(tmp_path, old), "kind"))
        new = rows(9)
        new.loc[2:3, "b"] = np.nan
        unseen = read_unseen(encoding, saved(tmp_path, new, "new.csv"))
        assert unseen.remarks == ["2 values are missing; they are set to the mean and marked"]

    def test_answers_are_names_with_probabilities(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        unseen = read_unseen(encoding, saved(tmp_path, rows(2).drop(columns="kind"), "new.csv"))
        table = answers(encoding, unseen, torch.tensor([[0.0, 1.0], [3.0, 0.0]]))
        assert table["row"].tolist() == [1, 2] and table["kind"].tolist() == ["low", "high"]
        assert table["p(low)"].tolist() == pytest.approx([0.7311, 0.0474], abs=1e-4)

    def test_numbers_are_in_the_users_units(self, tmp_path: Path) -> None:
        frame = rows().drop(columns="kind").assign(price=lambda f: 1e8 + f["a"])
        task = open_data(saved(tmp_path, frame), "price")
        assert isinstance(task, LabelledTask)
        unseen = read_unseen(encoding_of(task), tmp_path / "data.csv")
        batch = next(task.eval_batches("test", 100))
        found = answers(encoding_of(task), unseen, torch.zeros(len(frame), 1))
        train = frame["price"].to_numpy()[task._index["train"]]
        assert found["price"].tolist() == pytest.approx([train.mean()] * len(frame), rel=1e-12)
        exact = batch.in_units(batch.targets)[:, 0]
        assert exact == pytest.approx(frame["price"].to_numpy()[task._index["test"]], abs=1e-4)

    @pytest.mark.parametrize(
        "change, message",
        [
            (
                lambda f: f.rename(columns={"b": "B"}),
                "^the model needs the columns 'a', 'b', 'c'.*no column 'b'; did you mean 'B'",
            ),
            (lambda f: f.assign(b="red"), r"column 'b' is not numeric \(it holds 'red'\)"),
            (lambda f: f[:0], "no rows"),
        ],
    )
    def test_what_cannot_be_encoded_is_named(self, tmp_path: Path, change: Any, message: str) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        with pytest.raises(DataError, match=message):
            read_unseen(encoding, saved(tmp_path, change(rows(9)), "new.csv"))

    def test_other_kinds_of_files_are_refused(self, tmp_path: Path) -> None:
        encoding = encoding_of(open_data(saved(tmp_path, rows()), "kind"))
        with pytest.raises(DataError, match="no file or folder.*did you mean 'data.csv'"):
            read_unseen(encoding, tmp_path / "dat.csv")
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(DataError, match="rows are read from .csv"):
            read_unseen(encoding, tmp_path / "notes.txt")
        tokens = np.random.default_rng(0).integers(0, 5, (40, 6))
        np.savez(tmp_path / "data.npz", x=tokens, y=np.arange(40) % 2)
        arrays = encoding_of(open_data(tmp_path / "data.npz"))
        with pytest.raises(DataError, match="trained on an .npz file"):
            read_unseen(arrays, tmp_path / "data.csv")
        np.savez(tmp_path / "other.npz", x=np.full((2, 3), 5))
        with pytest.raises(DataError, match="tokens from 0 to 4, got 5 to 5"):
            read_unseen(arrays, tmp_path / "other.npz")


class TestNewSeries:
    def encoding(self, folder: Path, frame: pd.DataFrame | None = None, **options: Any) -> Encoding:
        path = saved(folder, daily() if frame is None else frame)
        return encoding_of(open_data(path, "y", **{"context": 16, "horizon": 4, **options}))

    def test_newer_rows_move_the_forecast_on(self, tmp_path: Path) -> None:
        encoding = self.encoding(tmp_path)
        unseen = read_unseen(encoding, saved(tmp_path, daily(230)[170:][["z", "y", "day"]], "new.csv"))
        assert unseen.names["day"].tolist() == ["2023-08-19", "2023-08-20", "2023-08-21", "2023-08-22"]
        assert unseen.batch.x.shape == (1, 16, 2)

    def test_rows_with_a_date_and_nothing_else_are_to_be_forecast(self, tmp_path: Path) -> None:
        new = daily(100)
        new.loc[97:, ["y", "z"]] = np.nan
        unseen = read_unseen(self.encoding(tmp_path), saved(tmp_path, new, "new.csv"))
        assert unseen.names["day"].tolist()[0] == new["day"][97]

    def test_gaps_are_filled_as_in_training(self, tmp_path: Path) -> None:
        gappy = daily().drop(index=[50, 60, 61])
        encoding = self.encoding(tmp_path, gappy)
        unseen = read_unseen(encoding, saved(tmp_path, daily(100).drop(index=[95]), "new.csv"))
        assert unseen.batch.x.shape == (1, 16, 4)
        assert unseen.batch.x[0, 11, 2:].tolist() == [1, 1] and unseen.batch.x[0, :, 2].sum() == 1
        assert unseen.batch.x[0, 11, :2].tolist() == unseen.batch.x[0, 10, :2].tolist()
        assert any("1 steps of 1 day are absent" in remark for remark in unseen.remarks)

    def test_each_series_has_a_forecast_and_short_ones_are_named(self, tmp_path: Path) -> None:
        frame = pd.concat([daily(200, shop="a"), daily(150, shop="b")])
        encoding = self.encoding(tmp_path, frame, group="shop")
        new = pd.concat([daily(30, shop="a"), daily(40, shop="b"), daily(10, shop="c")])
        unseen = read_unseen(encoding, saved(tmp_path, new, "new.csv"))
        assert unseen.names["shop"].tolist() == ["a"] * 4 + ["b"] * 4 and len(unseen.batch) == 2
        assert unseen.names["day"].tolist()[::4] == ["2023-01-31", "2023-02-10"]
        assert unseen.remarks == ["series 'c' has 10 steps at its end; the model needs 16: left out"]
        with pytest.raises(DataError, match="series 'c' has 10 steps at its end; the model needs 16"):
            read_unseen(encoding, saved(tmp_path, daily(10, shop="c"), "short.csv"))

    def test_rows_without_dates_count_steps(self, tmp_path: Path) -> None:
        encoding = self.encoding(tmp_path, daily().drop(columns="day"), kind="forecast")
        unseen = read_unseen(encoding, saved(tmp_path, daily(50), "new.csv"))
        assert unseen.names["step"].tolist() == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        "rule, start, want",
        [
            ("MS", "2015-01-01", ["01.05.23", "01.06.23", "01.07.23", "01.08.23"]),
            ("ME", "2015-01-31", ["31.05.23", "30.06.23", "31.07.23", "31.08.23"]),
            ("B", "2023-01-02", ["22.05.23", "23.05.23", "24.05.23", "25.05.23"]),
            ("6h", "2023-01-01", ["26.01.23 00h", "26.01.23 06h", "26.01.23 12h", "26.01.23 18h"]),
        ],
    )
    def test_dates_go_on_and_are_written_as_in_the_data(
        self, tmp_path: Path, rule: str, start: str, want: list[str]
    ) -> None:
        dates = pd.date_range(start, periods=100, freq=rule)
        style = "%d.%m.%y %Hh" if rule == "6h" else "%d.%m.%y"
        frame = daily(100).assign(day=dates.strftime(style))
        encoding = self.encoding(tmp_path, frame, context=6, date_format=style)
        assert read_unseen(encoding, tmp_path / "data.csv").names["day"].tolist() == want

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda f: f.drop(columns="z"), "^the model needs the columns 'y', 'z'.*no column 'z'"),
            (lambda f: f.drop(columns="day"), "no column 'day'"),
            (lambda f: f[:12], "the series has 12 steps at its end; the model needs 16"),
            (lambda f: f.assign(y=np.nan), "column 'y' of the series holds no number"),
            (lambda f: f[::7], "dates in 'day' are 1 week apart; the model was trained on steps of 1 day"),
            (lambda f: f.assign(day="soon"), "does not hold dates, got 'soon'"),
        ],
    )
    def test_what_cannot_be_forecast_is_named(self, tmp_path: Path, change: Any, message: str) -> None:
        encoding = self.encoding(tmp_path)
        with pytest.raises(DataError, match=message):
            read_unseen(encoding, saved(tmp_path, change(daily()), "new.csv"))


@pytest.mark.parametrize("target", ["row", "step"])
def test_a_target_called_as_what_tells_answers_apart(tmp_path: Path, target: str) -> None:
    kind = "forecast" if target == "step" else "regress"
    frame = rows().rename(columns={"c": target})
    task = open_data(saved(tmp_path, frame), target, kind=kind)
    unseen = read_unseen(encoding_of(task), tmp_path / "data.csv")
    shape = (len(unseen.batch), *unseen.batch.targets.shape[1:])
    table = answers(encoding_of(task), unseen, torch.zeros(shape))
    assert table.columns.tolist() == [f"number of the {target}", target]
    assert table.iloc[:, 0].tolist() == [*range(1, len(table) + 1)]


@pytest.mark.parametrize("level", [0.0, 1e7, 1e14])
def test_predictions_keep_the_digits_of_numbers_far_from_zero(tmp_path: Path, level: float) -> None:
    frame = pd.DataFrame({"v": level + np.random.default_rng(0).normal(0, 10, 100).round(1)})
    encoding = encoding_of(open_data(saved(tmp_path, frame), "v", kind="forecast"))
    unseen = read_unseen(encoding, tmp_path / "data.csv")
    outputs = torch.randn(unseen.batch.targets.shape, generator=torch.Generator().manual_seed(0))
    told = answers(encoding, unseen, outputs)["v"].to_numpy()
    np.testing.assert_allclose(told, unseen.batch.in_units(outputs).ravel(), rtol=0, atol=0.02)
