"""A plan is read again."""

from __future__ import annotations

import pytest

from anyformer.compare.plan.schema import Plan


def test_no_plan(tmp_path):
    with pytest.raises(ValueError, match="holds no comparison to resume"):
        Plan.load(tmp_path)
