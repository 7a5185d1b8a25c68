"""Seasons: found where something repeats, and seldom in what only wanders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from anyformer.tasks.seasons import find_season, mean_differences

Maker = Callable[[np.random.Generator, int], np.ndarray]


def autoregression(phi: float) -> Maker:
    return lambda rng, n: lfilter([1.0], [1.0, -phi], rng.normal(size=n + 50))[50:]


ASEASONAL: dict[str, Maker] = {
    "random walk": lambda rng, n: rng.normal(size=n).cumsum(),
    "random walk with heavy tails": lambda rng, n: rng.standard_t(2, size=n).cumsum(),
    "random walk with a drift": lambda rng, n: rng.normal(0.3, 1, n).cumsum(),
    "random walk with momentum": lambda rng, n: autoregression(0.6)(rng, n).cumsum(),
    "noise": lambda rng, n: rng.normal(size=n),
    "autoregression": autoregression(0.7),
    "alternating": autoregression(-0.5),
}


@pytest.mark.parametrize("name", ASEASONAL)
def test_what_has_no_season_shows_one_seldom(name: str) -> None:
    rng = np.random.default_rng(3)
    found = []
    for n, candidates in (
        (60, range(2, 20)),
        (150, range(2, 50)),
        (120, [12]),
        (400, [7, 365]),
        (500, [24, 168]),
    ):
        found += [find_season(ASEASONAL[name](rng, n), candidates) for _ in range(24)]
    # 5 % is the level; 10 of 120 is what a test at that level stays within 95 times of 100
    assert sum(season is not None for season in found) <= 10, found


def pattern(rng: np.random.Generator, n: int, season: int, noise: float) -> np.ndarray:
    return rng.normal(size=season)[np.arange(n) % season] + noise * rng.normal(size=n)


def wave(rng: np.random.Generator, n: int, season: float, noise: float) -> np.ndarray:
    return np.sin(2 * np.pi * np.arange(n) / season + rng.uniform(0, 6)) + noise * rng.normal(size=n)


@pytest.mark.parametrize(
    "make, n, candidates, season",
    [
        (lambda rng, n: pattern(rng, n, 7, 0.3), 120, range(2, 40), 7),
        (lambda rng, n: pattern(rng, n, 12, 0.3) + 0.1 * np.arange(n), 120, [12], 12),
        (lambda rng, n: wave(rng, n, 12, 0.4), 120, range(2, 40), 12),  # and not 24 or 36
        (lambda rng, n: wave(rng, n, 11, 0.4), 180, range(2, 60), 11),
        (lambda rng, n: wave(rng, n, 24, 0.7), 800, [24, 168], 24),
        (lambda rng, n: pattern(rng, n, 168, 0.3), 1200, [24, 168], 168),
        (lambda rng, n: 8 * wave(rng, n, 365, 0.4), 1500, [7, 365], 365),
        (lambda rng, n: pattern(rng, n, 7, 0.3) + 0.3 * rng.normal(size=n).cumsum(), 400, [7, 365], 7),
    ],
)
def test_seasons_are_found_and_not_their_multiples(
    make: Maker, n: int, candidates: list[int], season: int
) -> None:
    rng = np.random.default_rng(5)
    found = [find_season(make(rng, n), candidates) for _ in range(10)]
    assert found.count(season) >= 9, found


@pytest.mark.parametrize(
    "y", [np.zeros(50), np.arange(60.0), np.array([]), np.array([1.0, 2.0, 1.0]), np.full(40, 1e300)]
)
def test_nothing_repeats_in_what_does_not_change(y: np.ndarray) -> None:
    assert find_season(y, range(2, 10)) is None


@pytest.mark.parametrize("factor, shift", [(1e-9, 0.0), (1e9, 1e12), (1.0, -1e6)])
def test_units_do_not_matter(factor: float, shift: float) -> None:
    y = pattern(np.random.default_rng(0), 100, 7, 0.2)
    assert find_season(y * factor + shift, range(2, 30)) == find_season(y, range(2, 30)) == 7


def test_mean_differences_keep_to_series_parts_and_rows() -> None:
    y = np.array([[1.0, 5], [4, 5], [np.nan, 5], [6, 5], [100, 7], [0, 1], [10, 1]])
    parts, series = np.array([0, 0, 0, 0, 1, 2, 2]), np.array([0, 0, 0, 0, 0, 1, 1])
    rows = np.array([True] * 6 + [False])
    found = mean_differences(y, parts, series, rows, lag=1)
    np.testing.assert_array_equal(found, [[3, np.nan], [np.nan, np.nan]])  # no two rows of series 1 count
    found = mean_differences(y, parts, series, np.ones(7, bool), lag=2)
    np.testing.assert_array_equal(found, [[2, np.nan], [np.nan, np.nan]])


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_mean_differences_of_each_series_are_those_it_has_alone(count: int, lag: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, series = rng.normal(size=(60, 2)), np.sort(rng.integers(0, count, 60))
    y[rng.random(y.shape) < 0.2] = np.nan
    found = mean_differences(y, series, series, np.ones(60, bool), lag=lag)
    for number in np.unique(series):
        mine = y[series == number]
        one, every = np.zeros(len(mine), int), np.ones(len(mine), bool)
        alone = mean_differences(mine, one, one, every, lag=lag)
        np.testing.assert_array_equal(found[number], alone[0])
