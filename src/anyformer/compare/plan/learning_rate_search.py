"""The search for a learning rate on a ladder of rates: the next rung to try, from the losses of those tried so far.

All candidates use the same ladder. In the first round, of short runs, a candidate tries three rungs, then further ones
as long as its best is the lowest or the highest that it tried. Short runs favour rates that are too high for longer
ones, so a second round of longer runs decides: between the best two of the first round and the rung below the best,
then lower ones as long as the lowest that was tried is the best. A rung that is worse or diverges ends that direction.

Which rung is the best of a search depends on chance, and what it does to a score is nothing that a candidate has by
itself. So the best two of the second round are run with each further seed. Where the seeds do not agree beyond chance
on which is better, both are used, in turn: the scores of seeds then differ by that too, and intervals over seeds
contain it.

Every function here depends on losses alone, given in the order in which rungs were tried. Of equal losses the first
counts as the best, so that ties start no further runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal

from scipy.stats import t as student

RUNGS = (*(float(f"{digit}e{power}") for power in range(-5, 0) for digit in (1, 2, 5)), 1.0)
CENTRES = ((10**6, 5e-3), (10**8, 1e-3), (10**12, 2e-4))
"""Pairs of a number of parameters and the first rung for models up to that size."""

Losses = Mapping[float, float | None]
"""Losses by rung; None for a run that failed."""
Place = Literal["inside", "lowest", "highest", "edge"]
"""Position of the best rung: between worse ones, at an end of the ladder, or at the edge of what was tried."""


def start_for(parameters: int) -> list[float]:
    """Return the rungs that every candidate of this size tries first."""
    centre = next(centre for most, centre in CENTRES if parameters <= most)
    index = RUNGS.index(centre)
    return [centre, RUNGS[index + 1], RUNGS[index - 1]]


def best_of(losses: Losses) -> list[float]:
    """Return the rungs with a finite loss, best first."""
    alive = {rate: loss for rate, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return sorted(alive, key=lambda rate: alive[rate])


def next_short(short: Losses) -> float | None:
    """Return the next rung of the first round, or None if both neighbours of its best were tried."""
    best = best_of(short)
    if not best:
        return _beside(min(short), -1)
    for neighbour in (_beside(best[0], 1), _beside(best[0], -1)):
        if neighbour is not None and neighbour not in short:
            return neighbour
    return None


def contenders(short: Losses) -> list[float]:
    """Return the rungs with which the second round begins; none if every run of the first failed."""
    best = best_of(short)
    if not best:
        return []
    wanted = [best[0], _beside(best[0], -1), *best[1:2]]
    return list(dict.fromkeys(rate for rate in wanted if rate is not None))


def rivals(long: Losses) -> list[float]:
    """Return the rungs that are run with each further seed; none if there are not two."""
    best = best_of(long)[:2]
    return best if len(best) == 2 else []


def rates_of_seeds(rungs: Sequence[float], losses: Sequence[Losses]) -> list[float]:
    """Return the rung of each seed, from the losses of two rungs with each.

    The one with the lower mean is that of all seeds if it is lower beyond chance (paired, by Student's t at 5%), or if
    the other one failed with a seed; else both are used in turn.
    """
    sound = [rung for rung in rungs if all(rung in best_of(one) for one in losses)]
    if len(sound) < 2:
        return [(sound or [rungs[0]])[0]] * len(losses)
    better, other = sorted(sound, key=lambda rung: fmean(one[rung] or 0.0 for one in losses))
    behind = [(one[other] or 0.0) - (one[better] or 0.0) for one in losses]
    error = stdev(behind) / math.sqrt(len(behind))
    apart = fmean(behind) > error * float(student.ppf(0.975, len(behind) - 1))
    return [better if apart or place % 2 == 0 else other for place in range(len(losses))]


def next_long(short: Losses, long: Losses) -> float | None:
    """Return the next rung of the second round, or None if its best is settled."""
    best = best_of(long)
    if not best:
        return _beside(min(long), -1)
    below, above = _beside(best[0], -1), _beside(best[0], 1)
    if below is not None and below not in long:
        return below
    return above if above is not None and above not in long and above not in short else None


def place_of(rate: float, tried: Collection[float]) -> Place:
    """Return the position of a chosen rung among those that were tried."""
    if any(beside is not None and beside not in tried for beside in (_beside(rate, -1), _beside(rate, 1))):
        return "edge"
    return {RUNGS[0]: "lowest", RUNGS[-1]: "highest"}.get(rate, "inside")  # type: ignore[return-value]


def _beside(rate: float, offset: int) -> float | None:
    index = RUNGS.index(rate) + offset
    return RUNGS[index] if 0 <= index < len(RUNGS) else None
