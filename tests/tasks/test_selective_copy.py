"""Copying symbols from among noise."""

from __future__ import annotations

import pytest
from test_generated import all_of

from anyformer.objectives import IGNORED
from anyformer.tasks import create_task


class TestSelectiveCopy:
    def test_the_symbols_are_written_in_order(self) -> None:
        task = create_task("selective_copy", alphabet=5, num_symbols=3, length=10)
        for length in (10, 20):
            x, targets = all_of(task, "test", length)
            for row, answer in zip(x[:50].tolist(), targets[:50].tolist()):
                assert row[-3:] == [6] * 3 and row.count(5) == length - 6
                assert answer == [IGNORED] * (length - 3) + [t for t in row if t < 5]

    def test_refused(self) -> None:
        with pytest.raises(ValueError, match="length must be an integer at least 12, got 11"):
            create_task("selective_copy", length=11)
