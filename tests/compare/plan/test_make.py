"""A plan that cannot be carried out is refused before any work."""

from __future__ import annotations

import pytest

from anyformer.compare import compare


def test_nobody_can(tmp_path):
    with pytest.raises(ValueError, match="no candidate can do task 'recall': transformer causal=false: "):
        compare("recall", ["transformer causal=false"], out=tmp_path / "out", quiet=True)
