"""Evaluation by samples: whatever the batch, and with the objective's loss on demand."""

from __future__ import annotations

import math

import pytest
import torch

from anyformer.tasks import create_task, evaluate
from anyformer.tasks.batch import Batch

TASK = create_task("lookup", length=16)
CLASSES = TASK.objective.num_outputs


def uniform(batch: Batch) -> torch.Tensor:
    return torch.zeros(len(batch), CLASSES)


def right(batch: Batch) -> torch.Tensor:
    return torch.nn.functional.one_hot(batch.targets, CLASSES).float() * 50


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_no_score_depends_on_the_batch(batch_size: int) -> None:
    found = evaluate(right, TASK, "valid", batch_size=batch_size, items=20, with_loss=True)
    assert (found.value, len(found), found.items.shape, found.clusters.shape) == (1, 20, (20, 2), (20,))
    assert found.loss == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_mean_over_targets_and_only_where_asked() -> None:
    assert evaluate(uniform, TASK, "test", batch_size=64, items=50).loss is None
    found = evaluate(uniform, TASK, "test", batch_size=64, items=50, with_loss=True)
    assert found.loss == pytest.approx(math.log(CLASSES), rel=1e-6)


def test_a_part_is_the_subset_of_the_task() -> None:
    seen: list[torch.Tensor] = []

    def watched(batch: Batch) -> torch.Tensor:
        seen.append(batch.x)
        return uniform(batch)

    evaluate(watched, TASK, "test", batch_size=8, items=10)
    expected = [batch.x for batch in TASK.eval_batches("test", 8, index=TASK.subset("test", 10))]
    assert torch.equal(torch.cat(seen), torch.cat(expected))
