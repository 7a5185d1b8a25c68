"""Statistics of dates in the order of their rows: do they rise, step by step, on a grid without gaps?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyformer.dates.calendar import Step, infer_step


@dataclass(frozen=True)
class RowOrder:
    """Statistics of dates in the order of their rows, within groups; shares are from 0 to 1.

    Attributes:
        rising: share of differing neighbours that go in the majority's direction.
        steady: share of differing neighbours that go one step of the grid in that direction.
        dense: share of the grid's steps from the first date to the last that have exactly a date.
        moving: share of neighbours that differ.
        repeated: share of rows whose date occurs earlier in the group.
        usual: share of rows with the most frequent date.
        distinct: number of distinct dates.
        step: of the grid; None for fewer than three dates.
    """

    rising: float = 0.0
    steady: float = 0.0
    dense: float = 0.0
    moving: float = 0.0
    repeated: float = 0.0
    usual: float = 1.0
    distinct: int = 0
    step: Step | None = None

    @property
    def score(self) -> float:
        """Likeness to the dates of a series, from 0 to 3."""
        return self.rising + self.steady + self.dense

    @classmethod
    def of(cls, dates: np.ndarray, codes: np.ndarray) -> RowOrder:
        """Compute the statistics of dates (N,), datetime64[us], in groups with these codes (N,)."""
        there = ~np.isnat(dates)
        if not there.all():
            dates, codes = dates[there], codes[there]
        known, counts = np.unique(dates, return_counts=True)
        most = counts.max(initial=0)
        del counts
        by_group = np.argsort(codes, kind="stable")
        dates, codes = dates[by_group], codes[by_group]
        del by_group
        same = codes[1:] == codes[:-1]
        repeated = _repeated(dates, codes, same)
        if len(known) < 3:
            return cls(distinct=len(known), repeated=repeated)
        step, _ = infer_step(known)
        origin, distinct, dense = known[0], len(known), _dense(known, step)
        del known, codes
        moved = (dates[1:] - dates[:-1])[same].astype(np.int64)
        up, down = (moved > 0).sum(), (moved < 0).sum()
        moves = np.diff(step.index(dates, origin))[same]
        steps = moves == (1 if up >= down else -1)
        changed = max(int(up + down), 1)
        return cls(
            rising=float(max(up, down) / changed),
            steady=float(steps.sum() / changed),
            dense=dense,
            moving=float((up + down) / max(len(moved), 1)),
            repeated=repeated,
            usual=float(most / len(dates)),
            distinct=distinct,
            step=step,
        )


def _repeated(dates: np.ndarray, codes: np.ndarray, same: np.ndarray) -> float:
    """Return the share of dates that occur earlier in their group; ``same`` is True at rows of the next one's group."""
    if not len(dates):
        return np.nan
    if (dates[1:] < dates[:-1])[same].any():
        dates = dates[np.lexsort((dates, codes))]  # groups stay where they are
    return float((dates[1:] == dates[:-1])[same].sum() / len(dates))


def _dense(known: np.ndarray, step: Step) -> float:
    """Return the share of the grid's steps, from the first of the distinct dates to the last, that are one."""
    places = step.index(known, known[0])
    exact = step.dates(places, known[0]) == known
    filled = int((np.diff(places[exact]) > 0).sum()) + bool(exact.any())
    return float(filled / (places[-1] + 1))
