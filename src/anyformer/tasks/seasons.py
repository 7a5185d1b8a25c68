"""The season of a series, by a test that a random walk seldom passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

LEVEL = 0.05
DRAWS = 200
MOST_POINTS = 10_000
SHORTEST = 8
AS_GOOD = 0.9
"""A divisor of the best season replaces it if its autocorrelation, plus two standard errors, is at least this share of
the best one's."""


def find_season(y: np.ndarray, candidates: Sequence[int]) -> int | None:
    """Return the season of a series, or None if it shows none.

    Autocorrelations at the candidate lags are compared with those of two kinds of series without a season, as long as
    this one: random walks whose increments are an AR(1), which have high autocorrelations at lags where nothing
    repeats, and stationary AR(1)s. Both are fitted to the series and resample their own residuals. Autocorrelations
    are taken of the values less a linear trend, for slow seasons, and of the differences, for quick ones; each is
    tested by its largest standardised autocorrelation over all candidates (Monte Carlo, half of a level of 5 % each).
    Among adjacent candidates only local maxima count. A shorter candidate that divides the season replaces it if it
    repeats about as well, and better than its own half.

    Args:
        y: (n,), without missing values, in order of time; the last 10,000 are used.
        candidates: lags in steps; those above a third of n are left out.
    """
    y = np.asarray(y, dtype=np.float64)[-MOST_POINTS:]
    lags = np.array(sorted({int(lag) for lag in candidates if 2 <= lag <= len(y) // 3}), dtype=np.int64)
    if len(y) < SHORTEST or not len(lags) or not np.ptp(np.diff(y)) > 1e-9 * max(np.abs(y).max(), 1e-300):
        return None
    y = (y - y.mean()) / y.std()
    steps = _like(np.diff(y))
    walks = np.concatenate([np.zeros((DRAWS, 1)), steps.cumsum(1)], 1)
    for change in (_detrended, _differences):
        observed, *nulls = (
            _autocorrelations(change(series), lags.max() + 1) for series in (y[None], walks, _like(y))
        )
        found = _significant(observed[0], nulls, lags, 2 / np.sqrt(len(y)))
        if found is not None:
            return found
    return None


def _significant(
    observed: np.ndarray, nulls: Sequence[np.ndarray], lags: np.ndarray, doubt: float
) -> int | None:
    """Return the season among the lags, from autocorrelations (lag + 2,) and those under each null (draws, lag + 2)."""
    passed = _local_maxima(observed, lags) & (observed[lags] > 0)
    for null in nulls:
        centre, spread = null[:, lags].mean(0), null[:, lags].std(0) + 1e-12
        critical = np.quantile(((null[:, lags] - centre) / spread).max(1), 1 - LEVEL / 2, method="higher")
        passed &= (observed[lags] - centre) / spread > critical
    if not passed.any():
        return None
    best = lags[passed][observed[lags][passed].argmax()]
    for lag in lags[_local_maxima(observed, lags) & (lags < best)]:
        divides = abs(best - round(best / lag) * lag) <= 0.1 * lag
        as_good = observed[lag] >= AS_GOOD * observed[best] - doubt
        if divides and as_good and observed[lag] > observed[lag // 2] + doubt:
            return int(lag)
    return int(best)


def _local_maxima(observed: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Return a mask of lags whose autocorrelation is no less than those of adjacent candidates."""
    crowded = np.isin(lags - 1, lags) | np.isin(lags + 1, lags)
    return ~crowded | ((observed[lags] >= observed[lags - 1]) & (observed[lags] >= observed[lags + 1]))


def _like(x: np.ndarray) -> np.ndarray:
    """Return series (draws, n) of the AR(1) fitted to x (n,), with its residuals resampled."""
    rng = np.random.default_rng(0)
    x = x - x.mean()
    phi = float(np.clip((x[1:] @ x[:-1]) / max(x @ x, 1e-300), -0.95, 0.95))
    drawn = rng.choice(x[1:] - phi * x[:-1], (DRAWS, 100 + len(x)))
    return np.asarray(lfilter([1.0], [1.0, -phi], drawn, axis=1)[:, 100:])  # after a burn-in


def _detrended(y: np.ndarray) -> np.ndarray:
    """Return each row (rows, n) less its linear trend."""
    time = np.arange(y.shape[1]) - (y.shape[1] - 1) / 2
    slope = (y @ time) / (time @ time)
    return y - y.mean(1, keepdims=True) - slope[:, None] * time


def _differences(y: np.ndarray) -> np.ndarray:
    steps = np.diff(y, axis=1)
    return steps - steps.mean(1, keepdims=True)


def _autocorrelations(x: np.ndarray, most: int) -> np.ndarray:
    """Return autocorrelations of each row (rows, n) at lags 0 to ``most``: (rows, most + 1)."""
    n = x.shape[1]
    size = 2 ** int(np.ceil(np.log2(n + most + 1)))
    power = np.abs(np.fft.rfft(x, size)) ** 2
    sums = np.fft.irfft(power, size)[:, : most + 1]
    return sums / (n - np.arange(most + 1)) * n / np.maximum(sums[:, :1], 1e-300)


def mean_differences(
    y: np.ndarray, parts: np.ndarray, series: np.ndarray, rows: np.ndarray, *, lag: int
) -> np.ndarray:
    """Return the mean absolute difference of values ``lag`` steps apart, of each series and column.

    Args:
        y: ``(N, M)``, NaN where unknown, the steps of all series one below the other.
        parts, series: ``(N,)``, the part and the number of the series that each step belongs to.
        rows: ``(N,)`` bool, True at steps that count.
        lag: in steps; no difference reaches from one part into another.

    Returns:
        ``(S, M)``, NaN where there is none, or nothing changes.
    """
    pairs = rows[lag:] & rows[:-lag] & (parts[lag:] == parts[:-lag])
    differences, of = np.abs(y[lag:] - y[:-lag])[pairs], series[lag:][pairs]
    found = np.full((series.max() + 1, y.shape[1]), np.nan)
    order = np.argsort(of, kind="stable")
    numbers, starts = np.unique(of[order], return_index=True)
    for number, mine in zip(numbers, np.split(differences[order], starts[1:])):
        known = np.isfinite(mine).any(0)
        found[number] = np.nanmean(np.where(known, mine, 0), 0)
    found[~(found > 0)] = np.nan
    return found
