"""The time of a comparison over its interruptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyformer.compare.plan.clock import Clock


def test_the_clock_goes_on(tmp_path):
    (tmp_path / "clock.json").write_text("100.0")
    assert Clock(tmp_path).seconds >= 100.0


@pytest.mark.parametrize("text", ["", "[", '"soon"', "-1.0", "NaN", "true", "1e99"])
def test_a_damaged_file_counts_as_no_time_and_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock.json").write_text(text)
    clock = Clock(tmp_path)
    assert clock.damaged and clock.before == 0
    clock.settle(7.0)
    assert not clock.damaged and not Clock(tmp_path).damaged and Clock(tmp_path).before == 7.0


def test_the_time_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = Clock(tmp_path)
    now[0] += 1
    clock.tick()
    assert not (tmp_path / "clock.json").exists()
    now[0] += 2
    clock.tick()
    assert json.loads((tmp_path / "clock.json").read_text()) == 3.0
