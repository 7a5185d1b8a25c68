"""Whether others kept the machine busy while a comparison ran."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import median

SLOWER = 1.5
"""Steps that take so many times as long as the fastest ones of the same model have been disturbed."""


def neighbours(paces: Sequence[Sequence[float]], load: float, own: int) -> str:
    """A sentence about who disturbed the comparison; empty where nobody did.

    Args:
        paces: for each candidate, the seconds of a step whenever they were measured.
        load: the highest load average of the system meanwhile.
        own: threads of the comparison.
    """
    cores = os.cpu_count() or 1
    times = median([max(mine) / min(mine) for mine in paces if mine] or [1.0])
    others = load - own
    told = []
    if times >= SLOWER:
        told.append(f"steps took up to {times:.1f} times as long as at their fastest")
    if others >= max(1.0, cores / 4):
        told.append(f"its load went up to {load:.1f}, of which this comparison made at most {own}")
    return f"The machine was busy with something else: {', and '.join(told)}." if told else ""


def system_load() -> float:
    """The load average of the last minute; 0 where the system knows none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0
