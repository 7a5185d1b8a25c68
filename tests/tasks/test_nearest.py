"""Nearest neighbours: distances by the definition, and what warping is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.tasks import nearest, score_reference
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.nearest import NearestSeries, WarpedNearest, affordable, band_of, warped


def bumps(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Series of 60 steps, up then down (class 1) or down then up; the last third of them four steps later."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    x = rng.normal(size=(count, 60)) * 0.02
    for row, (sign, start) in enumerate(zip(2 * y - 1, np.where(np.arange(count) < 2 * count // 3, 20, 24))):
        x[row, start : start + 2] += sign
        x[row, start + 4 : start + 6] -= sign
    return x[..., None], y


def of(x: np.ndarray, y: np.ndarray, **options: object) -> LabelledTask:
    return LabelledTask(x, y, name="made", classes=["a", "b"], **options)  # type: ignore[arg-type]


def by_the_definition(x: np.ndarray, y: np.ndarray) -> float:
    T, band = len(x), band_of(len(x))
    table = np.full((T + 1, T + 1), np.inf)
    table[0, 0] = 0
    for i in range(T):
        for j in range(max(0, i - band), min(T, i + band + 1)):
            best = min(table[i, j], table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = np.square(x[i] - y[j]).sum() + best
    return float(np.sqrt(table[T, T]))


@pytest.mark.parametrize("length", [1, 2, 7, 31])
def test_warped_distances_are_the_definitions(length: int) -> None:
    rng = np.random.default_rng(length)
    x, y = rng.normal(size=(3, length, 2)), rng.normal(size=(4, length, 2))
    found = warped(torch.from_numpy(x).float(), torch.from_numpy(y).float())
    wanted = [[by_the_definition(one, other) for other in y] for one in x]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_warping_finds_a_shape_that_lies_elsewhere() -> None:
    split = np.repeat(["train", "valid", "test"], 20)
    made = of(*bumps(60), split=split)
    assert score_reference(WarpedNearest().fit(made), made) == 1.0
    assert score_reference(NearestSeries().fit(made), made) == 0.0


def test_neighbours_are_as_many_as_validation_asks_for() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    noisy = of(rng.normal(size=(400, 4, 1)) + 0.8 * y[:, None, None], y)
    assert NearestSeries().fit(noisy).count > 1
    x, y = bumps(200, 1)
    told = NearestSeries().fit(of(np.round(x), y)).predict(of(np.round(x), y).sample("test", 5))
    assert told.shape == (5, 2)


def test_numbers_are_told_between_those_of_neighbours() -> None:
    x = np.linspace(0, 1, 300)[:, None, None] * np.ones((300, 6, 1))
    made = LabelledTask(x, x[:, :1, 0] * 100, name="made", values=["y"])
    assert score_reference(NearestSeries().fit(made), made) < 1.0


def test_training_series_are_as_many_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MOST_CELLS", 30 * 9 * 60 * 13)
    made = of(*bumps(60))
    assert affordable(made.size("test"), 60) == 30
    reference = WarpedNearest().fit(made)
    assert len(reference.known) == 30 and "among 30 of the training" in reference.description
