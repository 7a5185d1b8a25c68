"""Timing: candidates take turns, and what is reported of their runs."""

from __future__ import annotations

import time

import pytest

from anyformer.bench.timing import Times, alternate, ratio


def test_alternating_runs_and_their_ratio() -> None:
    order: list[str] = []

    def run(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    times = alternate({"slow": lambda: run("slow", 0.03), "fast": lambda: run("fast", 0.006)}, seconds=0.01)
    assert order.count("slow") == 2 + 3, "two runs that are not counted, and three turns that are"
    assert order.count("fast") > 2 + 2 * 3, "a turn of short runs has several of them"
    assert 2 < ratio(times["slow"], times["fast"]) < 10
    assert Times((1.0, 2.0, 3.0)).median == 2.0
    assert ratio(Times((6.0,)), Times((1.0, 2.0, 3.0))) == 3.0


def test_what_is_slow_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyformer.bench.timing.SLOW_SECONDS", 0.01)
    times = alternate({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, seconds=0.01)
    assert len(times["slow"].runs) == 1 and len(times["fast"].runs) >= 3
