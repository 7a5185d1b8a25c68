"""Lets these tests import the strategies beside them, and those of dates; leaves classical forecasts little time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from anyformer.tasks import classical_forecast

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "dates")]


@pytest.fixture(autouse=True)
def few_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical_forecast, "SECONDS", 0.8)
