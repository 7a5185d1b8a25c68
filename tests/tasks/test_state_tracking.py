from __future__ import annotations

from itertools import combinations

import pytest

from anyformer.tasks import create_task


def test_the_ball_is_followed_by_hand() -> None:
    task = create_task("state_tracking", num_cups=4, length=9)
    batch = task.train_batch(0, 20)
    swaps = [*combinations(range(4), 2), (0, 0)]
    for x, targets in zip(batch.x.tolist(), batch.targets.tolist()):
        cups = ["ball", "", "", ""]
        for token, where in zip(x, targets):
            i, j = swaps[token]
            cups[i], cups[j] = cups[j], cups[i]
            assert cups[where] == "ball"


def test_two_cups_are_parity() -> None:
    batch = create_task("state_tracking", num_cups=2, length=6).train_batch(0, 30)
    assert batch.targets.equal((batch.x == 0).cumsum(1) % 2)


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_cups must be"):
        create_task("state_tracking", num_cups=1)
    with pytest.raises(ValueError, match="length must be"):
        create_task("state_tracking", length=0)
