"""Images whose rows repeat."""

from __future__ import annotations

import pytest
import torch

from anyformer.objectives import IGNORED
from anyformer.tasks import create_task, score_reference


def test_rows_repeat_and_only_they_are_asked() -> None:
    task = create_task("wallpaper", columns=4, rows=7, period=2, noise=0.0)
    for length in (task.train_length, *task.lengths):
        batch = next(iter(task.eval_batches("test", 50, length=length)))
        assert batch.x.shape == (50, length)
        assert (batch.targets[:, :7] == IGNORED).all()
        assert torch.equal(batch.targets[:, 7:], batch.x[:, : length - 7])
        assert torch.equal(batch.targets[:, 7:-1], batch.x[:, 8:])


def test_noise_and_references() -> None:
    task = create_task("wallpaper", noise=0.2)
    batch = task.train_batch(0, 2000)
    asked = batch.targets[:, 39:]
    right = (asked == batch.x[:, : asked.shape[1]]).double().mean()
    assert float(right) == pytest.approx(task.metric.info.best, abs=0.01)
    for reference in task.references():
        assert score_reference(reference.fit(task), task) == pytest.approx(1 / 8, abs=0.02)


def test_errors() -> None:
    with pytest.raises(ValueError, match="rows must be an integer at least 6, got 5"):
        create_task("wallpaper", rows=5)
    with pytest.raises(ValueError, match="noise must be at least 0 and below 1, got 1"):
        create_task("wallpaper", noise=1)
