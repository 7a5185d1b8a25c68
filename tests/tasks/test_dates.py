"""Columns of dates are read in one way, and right; what is no date is left alone; forecasts are written alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.tasks import open_data
from anyformer.tasks.dates import Dates, read_dates
from anyformer.tasks.encoding import load_encoding
from anyformer.tasks.unseen import read_unseen

RANGES = {
    "D": pd.date_range("2020-01-01", periods=70),
    "B": pd.date_range("2021-02-03", periods=70, freq="B"),
    "W": pd.date_range("2019-12-30", periods=70, freq="W-MON"),
    "MS": pd.date_range("2001-01-01", periods=70, freq="MS"),
    "ME": pd.date_range("2001-01-31", periods=70, freq="ME"),
    "QS": pd.date_range("1990-01-01", periods=50, freq="QS"),
    "YS": pd.date_range("1951-01-01", periods=40, freq="YS"),
    "h": pd.date_range("2020-01-01", periods=1000, freq="h"),
    "15min": pd.date_range("2020-03-01", periods=1000, freq="15min"),
}
DAYS = [
    "%d.%m.%y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%y-%m-%d",
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y/%m/%d",
    "%d %B %Y",
    "%b %d, %Y",
    "%d%b%Y",
]
TIMES = [
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y%m%d%H%M",
    "%d.%m.%y %H:%M",
]
MONTHS = ["%b-%y", "%b-%Y", "%B %Y", "%Y-%m", "%m/%Y", "%Y%m", "%YM%m"]
CASES = [(rule, style) for rule in ("D", "B", "W", "MS", "ME", "QS", "YS") for style in DAYS]
CASES += [(rule, style) for rule in ("h", "15min") for style in TIMES]
CASES += [(rule, style) for rule in ("MS", "QS") for style in MONTHS]
CASES += [("YS", "%Y"), ("W", "%G-W%V"), ("B", "%G-W%V-%u")]


def dates_of(values: Any, **options: Any) -> Dates:
    found = read_dates(pd.DataFrame({"when": values}), ["when"], **options)
    assert found is not None
    return found


def saved(folder: Path, frame: pd.DataFrame, name: str = "data.csv") -> Path:
    path = folder / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def table(dates: Any, **columns: Any) -> pd.DataFrame:
    n = len(dates)
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / 7) + np.random.default_rng(0).normal(0, 0.3, n)
    return pd.DataFrame({"when": dates, "y": values, **columns})


def notes_of(path: Path, **options: Any) -> str:
    return " | ".join(open_data(path, "y", **options).notes())


def forecast(path: Path, **options: Any) -> pd.DataFrame:
    """The names of the steps after the file's end."""
    task = open_data(path, "y", **{"context": 6, "horizon": 3, **options})
    assert task.encoding is not None
    return read_unseen(load_encoding(task.encoding.model_dump(mode="json")), path).names


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
@pytest.mark.parametrize("rule, style", CASES)
def test_a_style_is_found_on_the_whole_column(rule: str, style: str, order: str) -> None:
    dates = RANGES[rule]
    dates = {
        "rising": dates,
        "falling": dates[::-1],
        "shuffled": dates[np.random.default_rng(3).permutation(len(dates))],
    }[order]
    found = dates_of(dates.strftime(style))
    assert found.clock.to_numpy().tolist() == dates.to_numpy().astype("datetime64[us]").tolist()
    assert found.reading.write(found.clock.to_numpy())["when"] == dates.strftime(style).tolist()
