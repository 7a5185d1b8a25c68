"""The search for a learning rate: which rung of one ladder to try next, from the losses of those that were tried.

All candidates climb the same ladder. In the first round, of short runs, a candidate begins with three rungs and goes on
to the next one beyond as long as its best lies at the edge of what was tried. Short runs favour rates that are too
high for longer ones, so the second round, of longer runs, decides: between the best two of the first and the rung below
the best, and on downwards as long as the lowest tried is the best. What is worse, or diverges, ends the way there.

Everything here is a function of losses alone, each given in the order in which it was tried; of equal ones the first
counts, so that nothing is climbed for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

RUNGS = (*(float(f"{digit}e{power}") for power in range(-5, 0) for digit in (1, 2, 5)), 1.0)
CENTRES = ((10**6, 5e-3), (10**8, 1e-3), (10**12, 2e-4))
"""The rung to begin with, for models of up to so many parameters."""

Losses = Mapping[float, float | None]
"""By rung; None where the run failed."""
Place = Literal["inside", "lowest", "highest", "edge"]
"""Where the best rung lies: with worse ones on both sides, at an end of the ladder, at the edge of what was tried."""


def start_for(parameters: int) -> list[float]:
    """The rungs that every candidate of this size tries first."""
    centre = next(centre for most, centre in CENTRES if parameters <= most)
    place = RUNGS.index(centre)
    return [centre, RUNGS[place + 1], RUNGS[place - 1]]


def best_of(losses: Losses) -> list[float]:
    """Rungs with a finite loss, best first."""
    alive = {rate: loss for rate, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return sorted(alive, key=lambda rate: alive[rate])


def next_short(short: Losses) -> float | None:
    """The rung that the first round lacks, or None when its best has both neighbours."""
    best = best_of(short)
    if not best:
        return _beside(min(short), -1)
    for neighbour in (_beside(best[0], 1), _beside(best[0], -1)):
        if neighbour is not None and neighbour not in short:
            return neighbour
    return None


def contenders(short: Losses) -> list[float]:
    """The rungs that the second round begins with; none when nothing survived the first."""
    best = best_of(short)
    if not best:
        return []
    wanted = [best[0], _beside(best[0], -1), *best[1:2]]
    return list(dict.fromkeys(rate for rate in wanted if rate is not None))


def next_long(short: Losses, long: Losses) -> float | None:
    """The rung that the second round lacks, or None when its best is sure."""
    best = best_of(long)
    if not best:
        return _beside(min(long), -1)
    below, above = _beside(best[0], -1), _beside(best[0], 1)
    if below is not None and below not in long:
        return below
    return above if above is not None and above not in long and above not in short else None


def place_of(rate: float, tried: Collection[float]) -> Place:
    """Where a rung that the search ended at lies among those that were tried."""
    if any(beside is not None and beside not in tried for beside in (_beside(rate, -1), _beside(rate, 1))):
        return "edge"
    return {RUNGS[0]: "lowest", RUNGS[-1]: "highest"}.get(rate, "inside")  # type: ignore[return-value]


def _beside(rate: float, way: int) -> float | None:
    place = RUNGS.index(rate) + way
    return RUNGS[place] if 0 <= place < len(RUNGS) else None
