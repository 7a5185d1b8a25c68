"""Windows as inputs of a model, and forecasts that begin where new data ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from anyformer.tasks import DataError, Task, open_data
from anyformer.tasks.categories import Category
from anyformer.tasks.covariates import Covariates
from anyformer.tasks.encoding import DataLayout, Encoding, Standard
from anyformer.tasks.forecast_encoding import ForecastEncoding
from anyformer.tasks.readers import load_encoding

STANDARD = Standard(mean=[[1.0, 2.0]], scale=[[1.0, 2.0]], marks=False)
CATEGORIES = [Category(name=name, values=["x", "y"]) for name in ("kind", "sky")]


def encoding(covariates: Covariates, **fields: object) -> ForecastEncoding:
    layout = DataLayout(kind="series", columns=["y", "z"])
    return ForecastEncoding(
        layout=layout,
        targets=["y"],
        context=3,
        horizon=2,
        floor=[1, 1],
        marks=True,
        covariates=covariates,
        **fields,
    )  # type: ignore[arg-type]


def given() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    codes = {name: np.arange(5)[None] % 4 for name in ("kind", "sky")}
    return np.zeros((1, 3, 4)), np.arange(10.0).reshape(1, 5, 2), codes


def test_without_covariates_inputs_are_numbers() -> None:
    made = encoding(Covariates())
    x, _, _ = given()
    inputs, source = made.streams(x, np.empty((1, 5, 0)), {})
    assert inputs is x and source is None
    facts, before = made.facts()
    assert facts.num_features == 4 and before is None


def test_of_the_past_alone_inputs_are_the_fields_of_the_window() -> None:
    made = encoding(Covariates(categories=["kind", "sky"], static=["kind"]), categories=CATEGORIES)
    x, _, codes = given()
    inputs, source = made.streams(x, np.empty((1, 5, 0)), codes)
    assert isinstance(inputs, dict) and source is None
    assert list(inputs) == ["(numbers)", "kind", "sky"] and inputs["sky"].tolist() == [[0, 1, 2]]
    facts, before = made.facts()
    assert before is None and facts.stream is not None and facts.stream.names == list(inputs)


def test_what_is_known_ahead_is_the_horizon_and_the_window_its_source() -> None:
    covariates = Covariates(
        numbers=["price", "size"], categories=["kind", "sky"], ahead=["price"], static=["size", "kind"]
    )
    made = encoding(covariates, categories=CATEGORIES, standard=STANDARD)
    x, numbers, codes = given()
    inputs, source = made.streams(x, numbers, codes)
    assert isinstance(inputs, dict) and isinstance(source, dict)
    assert list(inputs) == ["(covariates)", "kind"]  # the sky is not known ahead
    assert list(source) == ["(numbers)", "kind", "sky", "(covariates)"]
    assert inputs["kind"].tolist() == [[3, 0]] and source["kind"].tolist() == [[0, 1, 2]]
    assert inputs["(covariates)"].tolist() == [[[5, 2.5], [7, 3.5]]]
    facts, before = made.facts()
    assert facts.stream is not None and before is not None and before.stream is not None
    assert facts.stream.names == list(inputs) and set(before.stream.names) == set(source)
    assert next(iter(source)) == before.stream.names[0] == "(numbers)"
    shared = {field.name: field for field in before.stream.fields}
    assert all(
        shared[field.name] == field for field in facts.stream.fields
    )  # so that models share their vectors


def test_no_field_of_numbers_has_the_name_of_a_category() -> None:
    made = encoding(
        Covariates(categories=["(numbers)"], ahead=["(numbers)"]),
        categories=[Category(name="(numbers)", values=["x", "y"])],
    )
    inputs, source = made.streams(
        np.zeros((1, 3, 4)), np.empty((1, 5, 0)), {"(numbers)": np.ones((1, 5), int)}
    )
    assert isinstance(source, dict) and list(source) == ["((numbers))", "(numbers)"]
    assert isinstance(inputs, dict) and list(inputs) == ["(numbers)"]


def test_what_was_saved_before_there_were_covariates_is_read() -> None:
    fields = encoding(Covariates()).model_dump()
    for name in ("covariates", "standard", "categories", "levels"):
        del fields[name]
    assert ForecastEncoding.model_validate(fields) == encoding(Covariates())


def encoding_of(task: Task) -> Encoding:
    """The task's encoding, by way of what is stored beside a model."""
    assert task.encoding is not None
    return load_encoding(json.loads(json.dumps(task.encoding.model_dump(mode="json"))))


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def daily(n: int = 200, start: str = "2023-01-01", **more: Any) -> pd.DataFrame:
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / 7) + np.random.default_rng(0).normal(0, 0.3, n)
    days = pd.date_range(start, periods=n).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": days, "y": values, "z": np.arange(n) * 0.7, **more})


class TestOwnSeries:
    def test_a_forecast_continues_the_last_window(self, tmp_path: Path) -> None:
        """With the last steps cut off, the window is the one whose targets are those steps."""
        frame = daily(200)
        task = open_data(saved(tmp_path, frame), "y", context=16, horizon=4)
        unseen = encoding_of(task).read(saved(tmp_path, frame[:-4], "earlier.csv"))
        *_, last = task.eval_batches("test", 1)
        assert torch.equal(unseen.batch.x, last.x)
        assert torch.equal(unseen.batch.shift, last.shift)  # type: ignore[arg-type]
        known = encoding_of(task).answers(unseen, last.targets)
        assert known["y"].tolist() == pytest.approx(frame["y"][-4:].tolist(), rel=1e-6)
        assert known["day"].tolist() == frame["day"][-4:].tolist()

    def test_quantiles_have_a_column_each_and_ascend(self, tmp_path: Path) -> None:
        frame = daily(200)
        task = open_data(saved(tmp_path, frame), ["y", "z"], context=16, horizon=4, quantiles=[0.1, 0.75])
        unseen = encoding_of(task).read(saved(tmp_path, frame[:-4], "earlier.csv"))
        *_, last = task.eval_batches("test", 1)
        right = last.targets[..., None].expand(1, 4, 2, 2) + torch.tensor([0.5, -0.5])  # in the wrong order
        known = encoding_of(task).answers(unseen, right.flatten(1))
        assert list(known) == ["day", "y_q0.1", "y_q0.75", "z_q0.1", "z_q0.75"]
        middle = (known["y_q0.1"] + known["y_q0.75"]) / 2
        assert middle.tolist() == pytest.approx(frame["y"][-4:].tolist(), rel=1e-5)
        assert (known["z_q0.1"] < known["z_q0.75"]).all()


class TestNewSeries:
    def encoding(self, folder: Path, frame: pd.DataFrame | None = None, **options: Any) -> Encoding:
        path = saved(folder, daily() if frame is None else frame)
        return encoding_of(open_data(path, "y", **{"context": 16, "horizon": 4, **options}))

    def test_newer_rows_move_the_forecast_on(self, tmp_path: Path) -> None:
        encoding = self.encoding(tmp_path)
        unseen = encoding.read(saved(tmp_path, daily(230)[170:][["z", "y", "day"]], "new.csv"))
        assert unseen.names["day"].tolist() == ["2023-08-19", "2023-08-20", "2023-08-21", "2023-08-22"]
        assert unseen.batch.x.shape == (1, 16, 2)

    def test_rows_with_a_date_and_nothing_else_are_to_be_forecast(self, tmp_path: Path) -> None:
        new = daily(100)
        new.loc[97:, ["y", "z"]] = np.nan
        unseen = self.encoding(tmp_path).read(saved(tmp_path, new, "new.csv"))
        assert unseen.names["day"].tolist()[0] == new["day"][97]

    def test_gaps_are_filled_as_in_training(self, tmp_path: Path) -> None:
        gappy = daily().drop(index=[50, 60, 61])
        encoding = self.encoding(tmp_path, gappy)
        unseen = encoding.read(saved(tmp_path, daily(100).drop(index=[95]), "new.csv"))
        assert unseen.batch.x.shape == (1, 16, 4)
        assert unseen.batch.x[0, 11, 2:].tolist() == [1, 1] and unseen.batch.x[0, :, 2].sum() == 1
        assert unseen.batch.x[0, 11, :2].tolist() == unseen.batch.x[0, 10, :2].tolist()
        assert any("1 steps of 1 day are absent" in remark for remark in unseen.remarks)

    def test_each_series_has_a_forecast_and_short_ones_are_named(self, tmp_path: Path) -> None:
        frame = pd.concat([daily(200, shop="a"), daily(150, shop="b")])
        encoding = self.encoding(tmp_path, frame, group="shop")
        new = pd.concat([daily(30, shop="a"), daily(40, shop="b"), daily(10, shop="c")])
        unseen = encoding.read(saved(tmp_path, new, "new.csv"))
        assert unseen.names["shop"].tolist() == ["a"] * 4 + ["b"] * 4 and len(unseen.batch) == 2
        assert unseen.names["day"].tolist()[::4] == ["2023-01-31", "2023-02-10"]
        assert unseen.remarks == ["series 'c' has 10 steps at its end; the model needs 16: left out"]
        with pytest.raises(DataError, match="series 'c' has 10 steps at its end; the model needs 16"):
            encoding.read(saved(tmp_path, daily(10, shop="c"), "short.csv"))

    def test_rows_without_dates_count_steps(self, tmp_path: Path) -> None:
        encoding = self.encoding(tmp_path, daily().drop(columns="day"), kind="forecast")
        unseen = encoding.read(saved(tmp_path, daily(50), "new.csv"))
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
        assert encoding.read(tmp_path / "data.csv").names["day"].tolist() == want

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
            encoding.read(saved(tmp_path, change(daily()), "new.csv"))


def test_a_target_called_as_what_tells_answers_apart(tmp_path: Path) -> None:
    frame = daily(120).rename(columns={"y": "step"})[["step"]]
    task = open_data(saved(tmp_path, frame), "step", kind="forecast")
    unseen = encoding_of(task).read(tmp_path / "data.csv")
    table = encoding_of(task).answers(unseen, torch.zeros(unseen.batch.targets.shape))
    assert table.columns.tolist() == ["number of the step", "step"]
    assert table.iloc[:, 0].tolist() == [*range(1, len(table) + 1)]


@pytest.mark.parametrize("level", [0.0, 1e7, 1e14])
def test_predictions_keep_the_digits_of_numbers_far_from_zero(tmp_path: Path, level: float) -> None:
    frame = pd.DataFrame({"v": level + np.random.default_rng(0).normal(0, 10, 100).round(1)})
    encoding = encoding_of(open_data(saved(tmp_path, frame), "v", kind="forecast"))
    unseen = encoding.read(tmp_path / "data.csv")
    outputs = torch.randn(unseen.batch.targets.shape, generator=torch.Generator().manual_seed(0))
    told = encoding.answers(unseen, outputs)["v"].to_numpy()
    np.testing.assert_allclose(told, unseen.batch.in_units(outputs).ravel(), rtol=0, atol=0.02)
