"""A plan is read again, and the defaults that it holds are sensible."""

from __future__ import annotations

import pytest

from anyformer.compare.plan.budget import Budget
from anyformer.compare.plan.schema import Plan, default_batch_size, default_parameters


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
