"""Days and years from the numbers in dates."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.dates.values import century, days_in


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.dates(date(1, 1, 10), date(9990, 1, 1)), min_size=1, max_size=5))
def test_days_are_those_of_the_calendar(days: list[date]) -> None:
    expected = np.array(days, "datetime64[D]")
    iso = [day.isocalendar() for day in days]
    for numbers in (
        {"Y": [d.year for d in days], "m": [d.month for d in days], "d": [d.day for d in days]},
        {"Y": [d.year for d in days], "j": [d.timetuple().tm_yday for d in days]},
        {"G": [w[0] for w in iso], "V": [w[1] for w in iso], "u": [w[2] for w in iso]},
    ):
        found, there = days_in({k: np.array(v) for k, v in numbers.items()}, len(days), None)
        assert there.all() and (found == expected).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1900, 2400), st.integers(-1, 14), st.integers(-1, 33))
def test_only_days_of_the_calendar_exist(year: int, month: int, day: int) -> None:
    numbers = {"Y": np.array([year]), "m": np.array([month]), "d": np.array([day])}
    _, there = days_in(numbers, 1, None)
    try:
        date(year, month, day)
        assert there[0]
    except ValueError:
        assert not there[0]


@pytest.mark.parametrize(
    ("years", "run"), [([98, 99, 0, 1], 1998), ([70, 71], 1970), ([0, 50, 75], None), ([], 1970)]
)
def test_two_digits_are_the_latest_shortest_run(years: list[int], run: int | None) -> None:
    first = century(np.array(years, np.int64))
    meant = [first + (year - first) % 100 for year in years]
    assert run in (None, first)
    assert not meant or max(meant) <= (datetime.now() + timedelta(days=5 * 366)).year
