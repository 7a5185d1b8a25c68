"""Checkpoints are due by a clock of their own, slow ones less often."""

from __future__ import annotations

import pytest

from anyformer.train import checkpoints
from anyformer.train.checkpoints import SECONDS, SHARE, CheckpointTimer


@pytest.mark.parametrize(
    ("takes", "every"), [(0.01, SECONDS), (SECONDS * SHARE, SECONDS), (3.0, 3.0 / SHARE)]
)
def test_slow_checkpoints_are_written_less_often(
    takes: float, every: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    timer = CheckpointTimer()
    assert not timer.due
    now += SECONDS
    assert timer.due
    with timer.saving():
        now += takes
    assert not timer.due
    now += every - 0.01
    assert not timer.due
    now += 0.02
    assert timer.due
