"""The patterns that fit the texts of a column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anyformer.dates.fitting import fitting_styles, leave_out_far, nearly_dates, texts_of, ways_of
from anyformer.dates.forms import known_styles

DAYS = pd.Series(pd.date_range("2024-01-05", periods=60))


def patterns(texts: list[str]) -> list[str]:
    rows, unique = pd.factorize(np.array(texts, object))
    return [style.narrowed(parsed).pattern for style, parsed in fitting_styles(rows, unique, known_styles())]


def test_all_that_fit_and_differ_are_found() -> None:
    assert patterns(["2024-01-05", "2024-02-06"]) == ["%Y-%m-%d"]
    assert sorted(patterns(["03/04/2024", "05/06/2024"])) == ["%d/%m/%Y", "%m/%d/%Y"]
    assert patterns(["03/04/2024", "25/06/2024"]) == ["%d/%m/%Y"]
    assert patterns(["one", "two"]) == patterns([]) == []


def test_up_to_a_twentieth_may_not_fit() -> None:
    texts = DAYS.dt.strftime("%d.%m.%Y").tolist()
    assert patterns([*texts, "unknown", "soon", "later"]) == ["%d.%m.%Y"]
    assert patterns([*texts, *["unknown"] * 4]) == []
    wrong = nearly_dates(pd.Series([*texts, *["unknown"] * 4]))
    assert wrong == "4 of 64 values are no plausible dates written %d.%m.%Y (first: 'unknown' in row 61)"
    assert nearly_dates(pd.Series(["a", "b"])) is None


def test_several_ways_are_shown_with_a_row_of_each() -> None:
    column = pd.concat([DAYS.dt.strftime("%d.%m.%Y"), DAYS.dt.strftime("%Y-%m-%d")], ignore_index=True)
    found = ways_of(column)
    assert found is not None and "'05.01.2024' in row 1 (%d.%m.%Y)" in found
    assert "'2024-01-05' in row 61 (%Y-%m-%d)" in found
    assert ways_of(DAYS.dt.strftime("%d.%m.%Y")) is None and ways_of(pd.Series(["a"] * 9)) is None


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([2001.0, np.nan], ["2001", None]),
        ([" a ", "", None], ["a", None, None]),
        (["2001.0", "2002.0"], ["2001", "2002"]),
        (["2001.5", "2002.0"], ["2001.5", "2002.0"]),
        ([1.5, 2.0], None),
        ([-1, 2], None),
        ([True, False], None),
        ([None, None], None),
    ],
)
def test_texts_of_columns(values: list[object], texts: list[str | None] | None) -> None:
    found = texts_of(pd.Series(values))
    assert (None if found is None else [None if pd.isna(text) else text for text in found]) == texts


@pytest.mark.parametrize("never", ["9999-12-31", "0001-01-01"])
def test_what_stands_for_never_is_no_date_and_few_far_ones_neither(never: str) -> None:
    dates = np.append(DAYS.to_numpy().astype("datetime64[us]"), [np.datetime64(never, "us")] * 40)
    assert leave_out_far(dates) == (40, (1000, 2999)) and np.isnat(dates).sum() == 40
    dates = np.append(DAYS.to_numpy().astype("datetime64[us]"), [np.datetime64("2222-01-01", "us")] * 2)
    assert leave_out_far(dates)[0] == 2 and np.isnat(dates[-2:]).all()
    many = np.repeat(np.array(["2024-01-01", "2222-01-01"], "datetime64[us]"), 30)
    assert leave_out_far(many)[0] == 0 and not np.isnat(many).any()
