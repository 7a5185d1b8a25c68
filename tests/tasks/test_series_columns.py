"""The roles of columns in a table of series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anyformer.tasks import DataError

from .panels import opened, sales


def shops(**more: Any) -> pd.DataFrame:
    frame = sales(80, 3)
    frame = frame[frame["sold"].notna()].reset_index(drop=True)
    codes = frame["shop"].str[1:].astype(int)
    sky = np.array(["rain", "sun", None])[np.random.default_rng(0).integers(0, 3, len(frame))]
    return frame.assign(size=codes * 100 + 50, region=codes.map({0: "n", 1: "s", 2: "n"}), sky=sky, **more)


def test_what_is_the_same_in_each_series_is_told_from_what_changes(tmp_path: Path) -> None:
    task = opened(tmp_path, shops(), known=["promo"])
    found = task.encoding.covariates
    assert found.numbers == ["promo", "size"] and found.categories == ["region", "sky"]
    assert found.static == ["size", "region"] and found.ahead == ["promo"] and task.columns == ["sold"]
    facts = task.describe()
    assert facts["known_ahead"] == ["promo"] and facts["static"] == ["size", "region"]
    assert facts["past_covariates"] == ["sky"]
    notes = " | ".join(task.notes())
    assert "'size', 'region' are the same at all steps of each series, and so known ahead" in notes
    assert (
        "one model forecasts all 3 series and is not told which it reads: category='shop' tells it" in notes
    )
    assert (
        "'sky' is read as a category of 2 values" in notes
        and "are missing, which is a category of its own" in notes
    )


def test_the_series_itself_is_a_category_where_asked(tmp_path: Path) -> None:
    task = opened(tmp_path, shops(), category=["shop", "promo"])
    assert task.encoding.covariates.categories == ["promo", "region", "sky", "shop"]
    assert task.encoding.covariates.static == ["size", "region", "shop"]
    assert not any("is not told which" in note for note in task.notes())


def test_a_text_known_ahead_need_not_repeat_often(tmp_path: Path) -> None:
    frame = shops().drop(columns="sky")
    day = np.arange(len(frame))
    frame["event"] = np.where(day % 13 == 0, "event " + pd.Series((day // 39).astype(str)), None)  # type: ignore[call-overload]
    assert "event" not in opened(tmp_path, frame).encoding.covariates.columns
    task = opened(tmp_path, frame, known="event")
    assert task.encoding.covariates.ahead == ["event"] and task.encoding.covariates.gaps == ["event"]


def test_without_a_target_neither_facts_nor_what_is_known_are_forecast(tmp_path: Path) -> None:
    assert opened(tmp_path, shops(), None, known="promo").targets == ["sold"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"known": "sold"}, "known: 'sold' is also the target, which is not known ahead"),
        (
            {"known": "shop"},
            "known: 'shop' tells the series apart, and is known anyway; category='shop' makes it",
        ),
        (
            {"known": ["day", "promo"]},
            "known: 'day' is the date; calendar=True makes features of dates inputs",
        ),
        ({"known": "promotion"}, "known: .* has no column 'promotion'; did you mean 'promo'"),
        ({"known": "void"}, "column 'void' of .* is without any value"),
        ({"category": "sold"}, "category: column 'sold' of .* is no input, but a target or date"),
        ({"category": "sky", "drop": "sky"}, "drop leaves out 'sky', which is asked for elsewhere"),
        (
            {"kind": "regress", "target": "promo", "known": "sky"},
            "known does not apply to rows that are classified",
        ),
        ({"kind": "forecast", "date": "none", "calendar": True}, "calendar needs a column of dates, and"),
    ],
)
def test_contradictions_are_one_sentence(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    frame = shops(void=np.nan)
    with pytest.raises((ValueError, DataError), match=message):
        opened(tmp_path, frame, **options)
