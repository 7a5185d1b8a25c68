"""Budgets are read as they are meant."""

from __future__ import annotations

import math

import pytest

from anyformer.compare.plan.budget import TIMES, Budget, propose_time


@pytest.mark.parametrize(
    "text, kind, amount",
    [
        ("60s", "seconds", 60),
        ("10m", "seconds", 600),
        ("2h", "seconds", 7200),
        ("1.5 hours", "seconds", 5400),
        (90, "seconds", 90),
        ("500 steps", "steps", 500),
        ("10k steps", "steps", 10_000),
        ("1M tokens", "tokens", 10**6),
        ("2,000 tokens", "tokens", 2000),
    ],
)
def test_budgets(text, kind, amount):
    assert Budget.parse(text) == Budget(kind, amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "10",
        "10 parsecs",
        "s",
        "1e3s",
        "1..2s",
        "5ks",
        None,
        True,
        "10s 5s",
        "1,5 min",
        "12,34 steps",
        "1,0000 tokens",
    ],
)
def test_not_budgets(text):
    with pytest.raises(ValueError, match="budget: expected a time"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["-5s", "0s", "-1 steps", -3, "0 tokens"])
def test_budgets_that_are_not_positive(text):
    with pytest.raises(ValueError, match="budget must be positive, got"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["0.5 steps", "1.5 steps", "1.0005k steps"])
def test_budgets_of_steps_are_whole(text):
    with pytest.raises(ValueError, match="budget must be whole steps, at least one, got"):
        Budget.parse(text)


@pytest.mark.parametrize(
    "seconds, words, option",
    [
        (3, "20 seconds", "20s"),
        (61, "90 seconds", "90s"),
        (91, "2 minutes", "2m"),
        (690, "12 minutes", "12m"),
        (3500, "1 hour", "1h"),
        (5000, "90 minutes", "90m"),
        (7200, "2 hours", "2h"),
        (7201, "more", "2h"),
        (math.inf, "more", "2h"),
    ],
)
def test_times_are_round_and_capped(seconds, words, option):
    assert propose_time(seconds) == (words, option)
    assert sorted(TIMES) == list(TIMES)
