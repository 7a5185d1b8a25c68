"""Statistics of dates in the order of their rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anyformer.dates.order import RowOrder

DAYS = pd.date_range("2024-01-01", periods=20).to_numpy().astype("datetime64[us]")
ONE = np.zeros(20, np.int64)


def test_a_daily_series_is_perfect_in_either_direction() -> None:
    for dates in (DAYS, DAYS[::-1]):
        order = RowOrder.of(dates, ONE)
        assert (order.rising, order.steady, order.dense, order.moving) == (1, 1, 1, 1)
        assert order.score == 3 and (order.repeated, order.usual, order.distinct) == (0, 1 / 20, 20)
        assert str(order.step) == "1 day"


def test_groups_are_ordered_by_themselves() -> None:
    """Three shops a day beside each other: no date repeats within a shop."""
    dates, codes = np.repeat(DAYS, 3), np.tile([0, 1, 2], 20)
    order = RowOrder.of(dates, codes)
    assert order.score == 3 and order.repeated == 0 and order.usual == 1 / 20
    alone = RowOrder.of(dates, np.zeros(60, np.int64))
    assert alone.repeated == pytest.approx(2 / 3) and alone.moving == pytest.approx(19 / 59)


def test_holes_make_it_sparse_and_a_shuffle_unsteady() -> None:
    odd = np.delete(DAYS, [3, 4, 5, 9])
    assert RowOrder.of(odd, ONE[:16]).dense == pytest.approx(16 / 20)
    assert RowOrder.of(odd, ONE[:16]).steady == pytest.approx(13 / 15)
    mixed = RowOrder.of(np.random.default_rng(0).permutation(DAYS), ONE)
    assert mixed.dense == 1 and mixed.steady < 0.5 and mixed.rising < 0.9


def test_unknown_dates_are_left_out_and_two_are_no_series() -> None:
    dates = DAYS.copy()
    dates[5] = np.datetime64("NaT")
    assert RowOrder.of(dates, ONE).distinct == 19
    few = RowOrder.of(DAYS[[0, 1, 1]], ONE[:3])
    assert (few.step, few.score, few.distinct) == (None, 0, 2) and few.repeated == pytest.approx(1 / 3)


def test_repeats_and_moves_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        size = int(rng.integers(3, 40))
        dates, codes = DAYS[rng.integers(0, 20, size)], rng.integers(0, 4, size)
        if rng.random() < 0.5:
            dates = np.sort(dates)
        frame = pd.DataFrame({"date": dates, "code": codes})
        order = RowOrder.of(dates, codes.astype(np.int32))
        assert order.repeated == frame.duplicated().mean()
        assert order.distinct == frame["date"].nunique()
        moved = frame.groupby("code")["date"].diff().dropna()
        if order.step is not None and len(moved):
            assert order.moving == pytest.approx((moved != pd.Timedelta(0)).mean())
            up, down = (moved > pd.Timedelta(0)).sum(), (moved < pd.Timedelta(0)).sum()
            assert order.rising == pytest.approx(max(up, down) / max(up + down, 1))
