"""MiniRocket: the penalty by its peer, and shapes at any place, which a linear model cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_nearest import of

from anyformer.layers.rocket import KERNELS
from anyformer.tasks import rocket, score_reference
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.references import FlatLinear
from anyformer.tasks.rocket import MiniRocket, features_for, leave_one_out_ridge


def shapes(count: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a peak (class 1) or the same peak upside down in reversed time, anywhere, in the last channel."""
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 2, count), rng.normal(size=(count, 100, channels)) * 0.1
    saw = np.linspace(0, 1, 15) - 0.5
    for row, (up, start) in enumerate(zip(y, rng.integers(0, 85, count))):
        x[row, start : start + 15, -1] += saw if up else saw[::-1]
    return x, y


@pytest.mark.parametrize("channels", [1, 3])
def test_it_finds_shapes_wherever_they_lie(channels: int) -> None:
    made = of(*shapes(200, channels))
    assert score_reference(MiniRocket().fit(made), made) > 0.9
    assert score_reference(FlatLinear().fit(made), made) < 0.75


def test_what_lies_behind_the_end_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    x, y = shapes(80)
    mask = np.arange(100) < rng.integers(60, 100, 80)[:, None]
    one, other = x.copy(), x.copy()
    other[~mask] = 7.0
    made = [of(values, y, mask=mask) for values in (one, other)]
    found = [MiniRocket().fit(task).predict(task.sample("test", 9)) for task in made]
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_penalty_and_weights_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import RidgeCV

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 50)), rng.normal(size=(30, 2))
    x -= x.mean(0)
    penalties = np.logspace(-2, 3, 6)
    weights, level = leave_one_out_ridge(x, y, penalties)
    peer = RidgeCV(alphas=penalties).fit(x, y)
    np.testing.assert_allclose(weights.T, peer.coef_, atol=1e-8)
    np.testing.assert_allclose(level, peer.intercept_)


def test_features_fit_the_length_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert features_for(500, 427) == 119 and features_for(500, 8) == 0
    monkeypatch.setattr(rocket, "MOST_WORK", 500 * 427 * KERNELS * 20.5)
    assert features_for(500, 427) == 20 and features_for(5000, 427) == 0


def test_numbers_are_told() -> None:
    x, y = shapes(200)
    strength = np.random.default_rng(5).uniform(0, 1, 200)
    made = LabelledTask(x * strength[:, None, None], strength[:, None], name="made", values=["y"])
    assert score_reference(MiniRocket().fit(made), made) < 0.6 * np.abs(strength - np.median(strength)).mean()
