"""Features of dates: periods as sine and cosine."""

from __future__ import annotations

import numpy as np
import pytest

from anyformer.dates.calendar import Step
from anyformer.tasks.calendar_features import calendar_features, fitting_features

DAY = 86_400_000_000


def test_a_period_begins_at_zero_and_comes_again() -> None:
    dates = np.array(["2024-01-01T00", "2024-01-01T06", "2024-01-08T00", "2024-01-04T12"], "datetime64[us]")
    hour, week, year = np.split(calendar_features(dates, ["hour of day", "day of week", "day of year"]), 3, 1)
    np.testing.assert_allclose(hour, [[0, 1], [1, 0], [0, 1], [0, -1]], atol=1e-12)
    np.testing.assert_allclose(
        week[[0, 2, 3]], [[0, 1], [0, 1], [0, -1]], atol=1e-12
    )  # Monday, Monday, Thursday noon
    np.testing.assert_allclose(year[0], [0, 1], atol=1e-12)
    assert 0 < year[2, 0] < 0.13


def test_every_day_of_a_week_has_its_own_place() -> None:
    dates = np.datetime64("1969-12-28", "us") + np.arange(14) * np.timedelta64(1, "D")
    found = calendar_features(dates, ["day of week"])
    np.testing.assert_allclose(found[:7], found[7:], atol=1e-12)
    assert len(np.unique(found.round(9), axis=0)) == 7


@pytest.mark.parametrize(
    "step, days, names",
    [
        (Step(microseconds=DAY // 24), 400, ["hour of day", "day of week", "day of year"]),
        (Step(microseconds=DAY // 24), 6, ["hour of day"]),
        (Step(microseconds=DAY), 300, ["day of week"]),
        (Step(working_day=True), 1000, ["day of week", "day of year"]),
        (Step(microseconds=7 * DAY), 1000, ["day of year"]),
        (Step(months=1), 1000, ["day of year"]),
        (Step(months=12), 10_000, []),
    ],
)
def test_features_have_two_steps_a_period_and_a_whole_one(step: Step, days: float, names: list[str]) -> None:
    assert fitting_features(step, days) == names
