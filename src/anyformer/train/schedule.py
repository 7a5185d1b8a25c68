"""Piecewise linear schedules of the learning rate, whose end can be moved during a run.

The rate rises, is constant, and falls to a tenth over the last part (warmup-stable-decay: Hu et al. 2024, "MiniCPM",
section 4; as good as a cosine: Hägele et al. 2024). Until it falls, nothing of the run depends on its length. Knots
may lie between steps.
"""

from __future__ import annotations

import math

Knots = tuple[tuple[float, float], ...]
"""Steps with the share of the highest learning rate reached there; (0, 0) comes before the first."""
WARM_UP, DECAY, LOWEST = 0.1, 0.3, 0.1


def whole(steps: int) -> Knots:
    """Return the schedule of a run of known length."""
    warm = max(1, round(WARM_UP * steps))
    return _knots(warm, fall_of(steps), steps)


def fall_of(steps: int) -> int:
    """Return the step after which the learning rate falls, in a run of ``steps``."""
    return steps - max(1, round(DECAY * steps))


def end(knots: Knots) -> int:
    """Return the last step of the run."""
    return math.floor(knots[-1][0])


def top(knots: Knots) -> float:
    """Return where the highest learning rate ends, in steps."""
    return max(step for step, share in knots if share == 1.0)


def stretched(knots: Knots, times: float) -> Knots:
    """Return the schedule of a run with ``times`` as many steps."""
    return tuple((times * step, share) for step, share in knots)


def changed(knots: Knots, at: int, steps: int) -> Knots:
    """Return a schedule that agrees with ``knots`` up to the step ``at`` and ends at ``steps`` instead."""
    if steps == knots[-1][0]:
        return knots
    if at <= top(knots):
        return _knots(knots[0][0], max(at, fall_of(steps)), steps)
    return (*(knot for knot in knots if knot[0] < at), (at, share_at(knots, at)), (steps, LOWEST))


def share_at(knots: Knots, step: float) -> float:
    """Return the share of the highest learning rate after ``step`` steps."""
    before = (0.0, 0.0)
    for knot in knots:
        if step <= knot[0]:
            return before[1] + (knot[1] - before[1]) * (step - before[0]) / max(1, knot[0] - before[0])
        before = knot
    return before[1]


def agree(one: Knots, other: Knots, until: float) -> bool:
    """True if two schedules are equal up to the step ``until``."""
    places = {until, *(step for step, _ in (*one, *other) if step <= until)}
    return all(abs(share_at(one, place) - share_at(other, place)) < 1e-9 for place in places)


def _knots(warm: float, fall: float, steps: float) -> Knots:
    fall = max(warm, fall)
    middle = ((fall, 1.0),) if fall > warm else ()
    return ((warm, 1.0), *middle, (steps, LOWEST)) if steps > fall else ((warm, 1.0), *middle)
