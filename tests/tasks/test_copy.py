"""Copying a string."""

from __future__ import annotations

import torch

from anyformer.objectives import IGNORED
from anyformer.tasks import create_task


class TestCopy:
    def test_the_string_is_written_again(self) -> None:
        task = create_task("copy", alphabet=5, length=12)
        for length in (12, 24):
            for batch in task.eval_batches("test", 200, length=length):
                mask = batch.mask if batch.mask is not None else torch.ones_like(batch.x, dtype=torch.bool)
                for x, target, real in zip(batch.x.tolist(), batch.targets.tolist(), mask.sum(1).tolist()):
                    size = x.index(5)
                    text = x[:size]
                    assert real == 2 * size and 3 <= size <= length // 2
                    assert x[size + 1 : 2 * size] == text[:-1]
                    assert target[size : 2 * size] == text
                    assert {*target[:size], *target[2 * size :]} <= {IGNORED}
                    assert length == 12 or size == 12
