"""The learning rate of a run as straight lines between knots, so that its end can be moved while it goes on.

It rises, stays, and falls to a tenth over the last part (Hu et al. 2024, "MiniCPM", section 4; as good as a cosine:
Hägele et al. 2024). As long as it stays at the top, nothing of the run depends on its length. All candidates and seeds
go through the same knots.
"""

from __future__ import annotations

from collections.abc import Sequence

Knots = tuple[tuple[int, float], ...]
"""Steps with the share of the highest learning rate that is reached there; the first follows (0, 0)."""
WARM_UP, DECAY, LOWEST = 0.1, 0.3, 0.1


def whole(steps: int) -> Knots:
    """The schedule of a run whose length is known."""
    warm = max(1, round(WARM_UP * steps))
    return _knots(warm, fall_of(steps), steps)


def fall_of(steps: int) -> int:
    """The step behind which the learning rate falls, in a run of so many."""
    return steps - max(1, round(DECAY * steps))


def top(knots: Knots) -> int:
    """The last step at the highest learning rate."""
    return max(step for step, share in knots if share == 1.0)


def changed(knots: Knots, at: int, steps: int) -> Knots:
    """A schedule that agrees with ``knots`` up to the step ``at`` and ends at ``steps`` instead."""
    if steps == knots[-1][0]:
        return knots
    if at <= top(knots):
        return _knots(knots[0][0], max(at, fall_of(steps)), steps)
    return (*(knot for knot in knots if knot[0] < at), (at, share_at(knots, at)), (steps, LOWEST))


def share_at(knots: Sequence[tuple[int, float]], step: float) -> float:
    """The share of the highest learning rate behind so many steps."""
    before = (0, 0.0)
    for knot in knots:
        if step <= knot[0]:
            return before[1] + (knot[1] - before[1]) * (step - before[0]) / max(1, knot[0] - before[0])
        before = knot
    return before[1]


def agree(one: Sequence[tuple[int, float]], other: Sequence[tuple[int, float]], until: int) -> bool:
    """Whether two schedules are the same up to a step."""
    places = {until, *(step for step, _ in (*one, *other) if step <= until)}
    return all(abs(share_at(one, place) - share_at(other, place)) < 1e-9 for place in places)


def _knots(warm: int, fall: int, steps: int) -> Knots:
    fall = max(warm, fall)
    middle = ((fall, 1.0),) if fall > warm else ()
    return ((warm, 1.0), *middle, (steps, LOWEST)) if steps > fall else ((warm, 1.0), *middle)
