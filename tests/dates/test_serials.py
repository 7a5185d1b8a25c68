"""Numbers that count time are dates, and dates such numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anyformer.dates.serials import SERIALS, read_serials, write_serial

DATES = pd.date_range("2001-02-03 04:05:06", periods=30, freq="37h").to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize("kind", SERIALS)
def test_what_is_written_is_read(kind: str) -> None:
    numbers = pd.Series([float(write_serial(date, kind)) for date in DATES])
    found = read_serials(numbers, [kind])
    assert found is not None and found[0] == kind
    error = np.abs((found[1] - DATES).astype(np.int64))
    assert error.max() <= (500 if kind == "excel" else 0)  # microseconds


def test_known_serials() -> None:
    assert write_serial(np.datetime64("2024-01-01", "us"), "excel") == "45292"
    assert write_serial(np.datetime64("2024-01-01T12:00", "us"), "excel") == "45292.5"
    assert write_serial(np.datetime64("2024-01-01", "us"), "unix_ms") == "1704067200000"


def test_the_unit_is_told_by_the_size_and_missing_ones_stay_so() -> None:
    seconds = pd.Series([1.7e9, np.nan, 1.7e9 + 60])
    found = read_serials(seconds, list(SERIALS))
    assert found is not None and found[0] == "unix_s"
    assert np.isnat(found[1]).tolist() == [False, True, False]
    assert str(found[1][2]) == "2023-11-14T22:14:20.000000"


@pytest.mark.parametrize(
    "values", [[True, False], ["a", "b"], [np.nan, np.nan], [1.0, 2.0], [1.7e9, 5.0], [1e30, 1e30]]
)
def test_other_numbers_are_none(values: list[object]) -> None:
    assert read_serials(pd.Series(values), list(SERIALS)) is None
