"""A comparison says who slowed it down, and nothing where nobody did."""

from __future__ import annotations

import pytest

from anyformer.compare.run.machine import SLOWER, describe_disturbance


def test_an_idle_machine_is_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert describe_disturbance([[1.0, 1.2], [2.0, 2.1]], 2.5, 2) == ""
    assert describe_disturbance([], 0.0, 2) == "" == describe_disturbance([[]], 0.0, 2)


def test_slow_steps_and_a_foreign_load_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    slow = describe_disturbance([[1.0, 2.0 * SLOWER], [1.0, 2.0 * SLOWER]], 2.0, 2)
    assert "steps took up to 3.0 times as long" in slow and "load" not in slow
    assert "its load went up to 5.5, of which this comparison made at most 2" in describe_disturbance(
        [], 5.5, 2
    )
    assert describe_disturbance([[1.0, 9.0], [1.0, 1.0], [1.0, 1.0]], 2.0, 2) == "", (
        "the other candidates were not slowed down"
    )
