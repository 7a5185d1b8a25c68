"""Features of dates that are known of any future: where a step lies in the day, the week and the year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyformer.dates.calendar import Step

_DAYS = {"hour of day": 1.0, "day of week": 7.0, "day of year": 365.2425}
"""Days in a period."""


def fitting_features(step: Step, days: float) -> list[str]:
    """Return the names of features whose period has at least two steps, and is seen whole in so many days."""
    return [name for name, period in _DAYS.items() if 2 * step.roughly() <= period <= days]


def calendar_features(dates: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the sine and cosine of each feature's phase, ``(N, 2 * len(names))`` float64.

    Args:
        dates: ``(N,)`` datetime64[us].
        names: of the features.
    """
    day = dates.astype("datetime64[D]")
    since = {
        "hour of day": day,
        "day of week": day - (day.astype(np.int64) + 3) % 7,  # Monday: 1970-01-01 was a Thursday
        "day of year": dates.astype("datetime64[Y]").astype("datetime64[D]"),
    }
    found = np.empty((len(dates), 2 * len(names)))
    for place, name in enumerate(names):
        passed = (dates - since[name].astype("datetime64[us]")).astype(np.int64) / 86_400e6
        angle = 2 * np.pi * passed / _DAYS[name]
        found[:, 2 * place], found[:, 2 * place + 1] = np.sin(angle), np.cos(angle)
    return found
