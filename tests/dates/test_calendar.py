"""Steps of series in words."""

from __future__ import annotations

import pytest

from anyformer.dates.calendar import Step


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step(microseconds=250_000), "0.25 seconds"),
        (Step(microseconds=1_500), "1.5 milliseconds"),
        (Step(microseconds=5_400_000_000), "90 minutes"),
        (Step(microseconds=900_000_000), "15 minutes"),
        (Step(microseconds=7 * 86_400_000_000), "1 week"),
        (Step(microseconds=36 * 3_600_000_000), "36 hours"),
        (Step(microseconds=12_345_678), "about 12.3 seconds"),
        (Step(months=3), "1 quarter"),
        (Step(working_day=True), "1 working day"),
    ],
)
def test_a_step_in_words(step: Step, words: str) -> None:
    assert str(step) == words


@pytest.mark.parametrize(
    ("step", "count", "words"),
    [
        (Step(working_day=True), 5, "1 week"),
        (Step(working_day=True), 7, "7 working days"),
        (Step(months=1), 12, "1 year"),
        (Step(months=3), 8, "2 years"),
        (Step(microseconds=900_000_000), 96, "1 day"),
        (Step(microseconds=3_600_000_000), 168, "1 week"),
    ],
)
def test_so_many_steps_in_words(step: Step, count: int, words: str) -> None:
    assert step.times(count) == words
