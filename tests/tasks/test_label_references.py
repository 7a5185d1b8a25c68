"""References of labels: the best constant, and one model for each label."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from anyformer.tasks.label_references import LabelShares, log_odds, one_for_each, probabilities


def test_no_constant_scores_better_in_training() -> None:
    draw = np.random.default_rng(0)
    for shares in ([0.1, 0.2, 0.3], [0.9, 0.8, 0.1], [0.5, 0.5, 0.02]):
        y = draw.random((60, 3)) < shares
        task: Any = SimpleNamespace(
            train_sample=lambda _, y=y: SimpleNamespace(targets=torch.tensor(y).float())
        )
        told = LabelShares().fit(task).logits.numpy() > 0
        score = f1_score(y, np.tile(told, (60, 1)), average="micro")
        sets = [one for k in range(4) for one in combinations(range(3), k)]
        best = max(
            f1_score(y, np.tile(np.isin(range(3), one), (60, 1)), average="micro", zero_division=0)
            for one in sets
        )
        assert score == best


def test_labels_that_are_always_or_never_there() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = np.stack([x[:, 0] > 0, np.ones(40), np.zeros(40)], 1)
    found = probabilities(one_for_each(LogisticRegression(), x, y), x, 3)
    assert found.shape == (40, 3) and ((found[:, 0] > 0.5) == (x[:, 0] > 0)).mean() > 0.9
    assert found[:, 1].min() > 0.9 and found[:, 2].max() < 0.1
    alone = probabilities(one_for_each(LogisticRegression(), x, y[:, :1]), x, 1)
    np.testing.assert_allclose(alone, found[:, :1], atol=1e-6)
    assert torch.isfinite(log_odds(found)).all()
