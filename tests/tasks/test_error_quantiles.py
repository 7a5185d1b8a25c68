"""Quantiles of references: of their errors in training, by step."""

from __future__ import annotations

import numpy as np
import torch

from anyformer.tasks.error_quantiles import ErrorQuantiles
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.references import LastValue
from anyformer.tasks.steps import Series

LEVELS = (0.1, 0.5, 0.9)


def walk(seed: int = 0) -> ForecastTask:
    values = np.random.default_rng(seed).normal(size=(2000, 1)).cumsum(0)
    return ForecastTask([Series(values)], ["y"], ["y"], name="walk", context=16, horizon=9, quantiles=LEVELS)


def test_a_random_walks_interval_widens_with_the_root_of_the_step_and_covers() -> None:
    task = walk()
    reference = ErrorQuantiles(LastValue([0]), LEVELS).fit(task)
    batch = task.sample("test", 10_000)
    found = torch.from_numpy(batch.in_units(reference.predict(batch).view(len(batch), 9, 1, 3)))
    width = (found[..., 2] - found[..., 0]).mean(0).flatten()
    assert 2.4 < width[8] / width[0] < 3.6  # 3
    assert (found.diff(dim=-1) > 0).all()
    values = torch.from_numpy(batch.in_units(batch.targets))
    assert 0.7 < ((found[..., 0] < values) & (values < found[..., 2])).double().mean() < 0.9


def test_every_reference_of_a_forecast_gives_quantiles() -> None:
    task = walk(1)
    batch = task.sample("test", 5)
    for reference in task.references():
        outputs = reference.fit(task).predict(batch)
        assert outputs.shape == (5, 9 * 3) and outputs.isfinite().all()
        assert np.isfinite(task.metric.value(task.metric.measure(outputs, batch.target)))


def test_a_step_without_any_known_number_gets_the_point() -> None:
    task = walk(2)
    for split in ("train", "valid"):
        batch = task.sample(split, 10)
        blind = batch.targets.clone()
        blind[:, 3] = float("nan")
    task.sample = lambda split, limit: type(batch)(batch.inputs, blind, None, batch.shift, batch.scale)  # type: ignore[method-assign]
    found = ErrorQuantiles(LastValue([0]), LEVELS).fit(task).predict(batch).view(10, 9, 3)
    assert (found[:, 3] == batch.x[:, -1:, 0]).all() and (found[:, 4].diff(dim=-1) > 0).all()
