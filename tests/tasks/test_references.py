"""Predictors without a sequence model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_text import task_of

from anyformer.tasks import score_reference
from anyformer.tasks.base import Reference
from anyformer.tasks.text import ByteTask


def ngrams_of(task: ByteTask) -> list[Reference]:
    """The references on a text but the compressor, which predicts nothing."""
    return [reference for reference in task.references() if reference.name != "xz"]


def test_longer_ngrams_predict_better_and_uniform_is_eight_bits() -> None:
    task = task_of(30, length=64)
    scores = []
    for reference in ngrams_of(task):
        scores.append(score_reference(reference.fit(task), task))
        probabilities = reference.predict(next(task.eval_batches("test", 5))).exp().sum(-1)
        torch.testing.assert_close(probabilities, torch.ones_like(probabilities), rtol=1e-4, atol=0)
    assert 8 > scores[0] > scores[1] > scores[2] > 0
    batch = next(task.eval_batches("test", 3))
    found = task.metric.measure(torch.zeros(*batch.x.shape, 256), batch.target)
    assert found == pytest.approx(np.array([[8 * 64, 64]] * 3))


def test_linear_models_and_ngrams_count_what_they_keep() -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, Ridge

    from anyformer.tasks.references import weights_in

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    assert weights_in(Ridge().fit(x, y)) == 5
    assert weights_in(LogisticRegression().fit(x, y)) == 15
    assert weights_in(RandomForestRegressor(2).fit(x, y)) is None
    found = [
        reference.fit(task_of(30, length=64)).parameters for reference in ngrams_of(task_of(30, length=64))
    ]
    assert found[0] is not None and found[0] < found[1] < found[2]  # type: ignore[operator]
