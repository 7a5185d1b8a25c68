"""The step of a series of dates, and the regular grid that it defines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SECOND = 1_000_000  # in microseconds, the unit of every date here
_DAY = 86_400 * _SECOND
_UNITS = (
    ("day", _DAY),
    ("hour", 3600 * _SECOND),
    ("minute", 60 * _SECOND),
    ("second", _SECOND),
    ("microsecond", 1),
)
_NAMED = (("week", 7 * _DAY), *_UNITS[:4], ("millisecond", 1000), ("microsecond", 1))
_LEAST = {"second": 0.1, "week": 100}
"""By unit, the smallest length given in it with decimals, if not 1."""
_MANY = 100_000
_MOST = {"millisecond": 100, "microsecond": 0}
"""By unit, the largest number given in it without decimals."""


@dataclass(frozen=True)
class Step:
    """One step of a regular series: so many months, one working day, or so many microseconds.

    With months, ``day`` is the day of the month, or the last one of a shorter month.
    """

    months: int = 0
    day: int = 1
    working_day: bool = False
    microseconds: int = 0

    def index(self, dates: np.ndarray, origin: np.datetime64) -> np.ndarray:
        """Return the index on the grid nearest to each date (datetime64[us]); ``origin`` has index 0."""
        if self.months:
            month = dates.astype("datetime64[M]").astype(np.int64)
            return (month - origin.astype("datetime64[M]").astype(np.int64)) // self.months
        if self.working_day:
            return np.busday_count(origin.astype("datetime64[D]"), dates.astype("datetime64[D]"))
        return np.rint((dates - origin).astype(np.int64) / self.microseconds).astype(np.int64)

    def date(self, index: int, origin: np.datetime64) -> np.datetime64:
        """Return the date at an index of the grid."""
        return self.dates(np.array([index]), origin)[0]

    def dates(self, places: np.ndarray, origin: np.datetime64) -> np.ndarray:
        """Return the dates (datetime64[us]) at indices (N,) of the grid, at the time of day of ``origin``."""
        if not self.months and not self.working_day:
            found: np.ndarray = origin + (places * self.microseconds).astype("timedelta64[us]")
            return found
        if self.months:
            month = origin.astype("datetime64[M]") + places * self.months
            first = month.astype("datetime64[D]")
            length = ((month + 1).astype("datetime64[D]") - first).astype(np.int64)
            days = first + np.minimum(self.day, length) - 1
        else:
            days = np.busday_offset(origin.astype("datetime64[D]"), places, roll="forward")
        return days.astype("datetime64[us]") + (origin - origin.astype("datetime64[D]"))

    def __str__(self) -> str:
        if self.months:
            known = {1: "1 month", 3: "1 quarter", 12: "1 year"}
            return known.get(self.months, f"{self.months} months")
        if self.working_day:
            return "1 working day"
        return _in_words(self.microseconds)

    def times(self, count: int) -> str:
        """Return ``count`` steps in words, such as "3 days"."""
        if self.working_day:
            weeks, days = divmod(count, 5)
            return f"{count} working days" if days else str(Step(microseconds=7 * weeks * _DAY))
        if self.months:
            years, months = divmod(count * self.months, 12)
            return str(Step(months=count * self.months)) if months or years < 2 else f"{years} years"
        return _in_words(count * self.microseconds)

    def roughly(self) -> float:
        """Return its length in days, a month being 30.4."""
        return 30.4 * self.months + float(self.working_day) + self.microseconds / _DAY

    def seasons(self) -> list[int]:
        """Return possible seasons in steps: a day, a week, a year."""
        if self.months:
            return [12 // self.months] if self.months < 12 else []
        if self.working_day:
            return [5]
        lengths = (
            [_DAY, 7 * _DAY, 365 * _DAY] if self.microseconds >= 600 * _SECOND else [3600 * _SECOND, _DAY]
        )
        steps = [round(length / self.microseconds) for length in lengths]
        return [n for n in steps if 2 <= n <= 400]


def _in_words(microseconds: int) -> str:
    """Return a length of time in words, in the largest unit of which it is a whole number, or with decimals."""
    for unit, size in _NAMED:
        count = microseconds / size
        if microseconds % size == 0 and count < _MOST.get(unit, _MANY):
            return f"{count:.0f} {unit}" + "s" * (count != 1)
    unit, size = next(
        ((unit, size) for unit, size in _NAMED if microseconds >= _LEAST.get(unit, 1) * size), _NAMED[-1]
    )
    exact = f"{microseconds / size:.6f}".rstrip("0").rstrip(".")
    if round(float(exact) * size) == microseconds and len(exact) <= 8:
        return f"{exact} {unit}" + "s" * (exact != "1")
    return f"about {float(f'{microseconds / size:.3g}'):g} {unit}s"


def infer_step(dates: np.ndarray) -> tuple[Step, bool]:
    """Return the step of sorted, distinct dates (datetime64[us]), and whether most of them keep to it."""
    gaps = np.diff(dates).astype(np.int64)
    assert len(gaps) > 0 and (gaps > 0).all()
    found, counts = np.unique(gaps, return_counts=True)
    usual = int(found[counts.argmax()])
    days = found / _DAY
    for months, low, high in ((1, 28, 31), (3, 90, 92), (6, 181, 184), (12, 365, 366)):
        here = (days >= low) & (days <= high)
        if counts[here].sum() >= 0.5 * len(gaps) and here.sum() > 1:
            month_days = dates.astype("datetime64[D]") - dates.astype("datetime64[M]").astype("datetime64[D]")
            return Step(months=months, day=int(month_days.astype(np.int64).max()) + 1), True
    if usual == _DAY and len(dates) > 10:
        weekday = (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
        if (weekday < 5).all():
            return Step(working_day=True), True
    if counts.max() < 0.3 * len(gaps):
        usual = _rounded(int(np.median(gaps)))
    if counts.max() < 0.5 * len(gaps) and gaps.sum() / usual > 10 * len(
        dates
    ):  # a few close pairs in a sparse series
        usual = _rounded(int(gaps.sum() / len(gaps)))
    steps = gaps / usual
    steps -= np.rint(steps)
    if (np.abs(steps, out=steps) < 0.05).mean() >= 0.5:
        return Step(microseconds=usual), True
    steady = (np.abs(gaps - usual) < 0.5 * usual).mean() >= 0.5  # jitter about a step, or no step at all
    return Step(microseconds=usual if steady else _rounded(int(gaps.mean()))), False


def _rounded(gap: int) -> int:
    """Return a gap as a whole number of its largest unit, where that changes it by less than 5 %."""
    for _, size in _UNITS:
        whole = round(gap / size) * size
        if whole and abs(whole - gap) < 0.05 * gap:
            return whole
    return max(gap, 1)
