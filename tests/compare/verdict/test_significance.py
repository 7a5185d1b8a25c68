"""Significance of differences, corrected for their number."""

from __future__ import annotations

import numpy as np
import pytest

from anyformer.compare.results import (
    Sample,
)
from anyformer.compare.verdict.confidence_intervals import ScoredEntry
from anyformer.compare.verdict.significance import contrasts, holm


def test_interval_and_p_agree():
    rng = np.random.default_rng(3)
    for _ in range(50):
        rows = [
            ScoredEntry(str(i), tuple(Sample(score=s) for s in rng.normal(i * 0.3, 0.2, 4))) for i in range(4)
        ]
        for found in contrasts([(rows[3], row) for row in rows[:3]], higher_is_better=True):
            assert (found.low > 0 or found.high < 0) == (found.p < 0.05)
            assert found.low <= found.difference <= found.high


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
