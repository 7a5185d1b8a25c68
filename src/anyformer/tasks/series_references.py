"""References for the class, the labels or numbers of a series, beside those of all sequences."""

from __future__ import annotations

from anyformer.layers.rocket import TAPS
from anyformer.tasks.base import Reference, Task
from anyformer.tasks.nearest import FEWEST, NearestSeries, WarpedNearest, affordable
from anyformer.tasks.rocket import MiniRocket, features_for, series_in


def series_references(task: Task, *, ragged: bool) -> tuple[list[Reference], list[str]]:
    """Return the references whose cost fits a task of series of numbers, and remarks on those that are left out.

    Args:
        task: its inputs are numbers ``(B, T, F)``.
        ragged: series are of different lengths.
    """
    found, remarks = list[Reference]([NearestSeries()]), list[str]()
    tested, length = task.size("test"), task.train_length
    if features_for(series_in(task), length):
        found.insert(0, MiniRocket())
    elif length >= TAPS:
        remarks.append(
            f"MiniRocket is not among the references: too costly for {series_in(task):,} series of {length:,} steps"
        )
    if ragged:
        remarks.append(
            "the nearest neighbour by warped time is not among the references: it is for series of one length"
        )
    elif affordable(tested, length) < min(FEWEST, task.size("train")):
        remarks.append(
            f"the nearest neighbour by warped time is not among the references: too costly for {tested:,} test series "
            f"of {length:,} steps"
        )
    elif length > 1:
        found.append(WarpedNearest())
    return found, remarks
