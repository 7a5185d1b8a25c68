"""Schedules whose end can be moved: what was trained stays as it was."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anyformer.train.schedule import LOWEST, agree, changed, fall_of, share_at, top, whole


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_it_rises_stays_and_falls_to_a_tenth(steps: int) -> None:
    knots = whole(steps)
    shares = [share_at(knots, step) for step in range(1, steps + 1)]
    assert max(shares) == 1 and all(0 < share <= 1 for share in shares)
    peak = shares.index(1)
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert knots[-1][0] == steps and top(knots) <= steps
    if steps > 3:
        assert shares[-1] == pytest.approx(LOWEST) and top(knots) == fall_of(steps)


@pytest.mark.parametrize("at", [1, 40, 65, 70, 71, 90, 100])
@pytest.mark.parametrize("steps", [100, 101, 200, 1000])
def test_a_moved_end_keeps_the_steps_that_were_done(at: int, steps: int) -> None:
    before = whole(100)
    after = changed(before, at, steps)
    assert agree(before, after, at)
    assert after[-1][0] == steps and share_at(after, steps) == pytest.approx(LOWEST)
    assert all(step < later for (step, _), (later, _) in pairwise(after))


def test_a_difference_before_the_step_is_seen() -> None:
    assert agree(whole(100), changed(whole(100), 50, 300), 70)
    assert not agree(whole(100), changed(whole(100), 50, 300), 71)
    assert not agree(whole(100), whole(300), 5)
