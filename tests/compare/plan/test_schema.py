"""Budgets are read as they are meant, and what is planned fits into them."""

from __future__ import annotations

import pytest

from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.schema import Plan, default_batch_size, default_parameters


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
    "text", ["", "fast", "10", "10 parsecs", "s", "1e3s", "1..2s", "5ks", None, True, "10s 5s"]
)
def test_not_budgets(text):
    with pytest.raises(ValueError, match="budget: expected a time"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["-5s", "0s", "-1 steps", -3, "0 tokens"])
def test_budgets_that_are_not_positive(text):
    with pytest.raises(ValueError, match="budget must be positive, got"):
        Budget.parse(text)


def test_no_plan(tmp_path):
    with pytest.raises(ValueError, match="holds no comparison to resume"):
        Plan.load(tmp_path)


def test_sizes_are_round_and_grow_with_the_budget():
    sizes = [default_parameters(Budget.parse(text), 16, 2048) for text in ("30s", "10m", "2h", "48h")]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert default_batch_size(64) == 32
    assert default_batch_size(256) == 16
    assert default_batch_size(100_000) == 4
