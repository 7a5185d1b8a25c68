"""The linear forecast: never worse than the last value by its own doing, and the form that the data ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.tasks import score_reference
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.linear_forecast import ChannelLinear, _Form, _ridges
from anyformer.tasks.steps import Series


def task(values: np.ndarray, targets: list[str] | None = None, **options: int) -> ForecastTask:
    columns = [f"c{i}" for i in range(values.shape[1])]
    return ForecastTask([Series(values)], columns, targets or columns, name="made", **options)


def scores(made: ForecastTask) -> dict[str, float]:
    return {one.name: score_reference(one.fit(made), made) for one in made.references()}


def test_on_random_walks_of_many_columns_it_is_as_good_as_the_last_value() -> None:
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(900, 8)).cumsum(0) * 10.0 ** rng.integers(-2, 3, 8)
    found = scores(task(walks, context=32, horizon=8))
    assert found["linear"] <= 1.02 * found["last value"]


def test_it_finds_what_repeats() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=12)[np.arange(600) % 12] * 3 + rng.normal(size=600).cumsum() * 0.1
    found = scores(task(y[:, None], context=36, horizon=6))
    assert found["linear"] < 0.5 * min(found["last value"], found["window mean"])


def test_it_looks_at_other_columns_where_they_tell_more() -> None:
    rng = np.random.default_rng(2)
    leader = rng.normal(size=(800, 1))
    follower = np.roll(leader, 1, axis=0) + 0.05 * rng.normal(size=(800, 1))
    made = task(np.concatenate([leader, follower], 1), targets=["c1"], context=8, horizon=1)
    reference = ChannelLinear([1]).fit(made)
    assert reference.chosen[0] is not None and reference.chosen[0].form.channels == [0, 1]
    found = scores(made)
    assert found["linear"] < 0.2 * found["last value"]


def test_missing_values_and_constant_columns_are_borne() -> None:
    rng = np.random.default_rng(3)
    y = np.stack([np.sin(np.arange(400) / 3), np.full(400, 5.0), rng.normal(size=400)], 1)
    y[rng.random(y.shape) < 0.1] = np.nan
    assert all(np.isfinite(score) for score in scores(task(y, context=24, horizon=4)).values())


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_one_decomposition_gives_what_weighted_ridge_regression_gives(penalty: float) -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(4)
    x, y, counts = rng.normal(2, 3, (50, 7)), rng.normal(size=(50, 2)), rng.uniform(0.1, 2, 50)
    (ridge,) = _ridges(x, y, counts, [penalty], _Form([0], 0))
    share = counts / counts.sum()
    variance = (share @ np.square(x - share @ x)).mean()
    peer = Ridge(alpha=penalty * variance).fit(x, y, sample_weight=share)
    np.testing.assert_allclose(ridge.predict(x), peer.predict(x), rtol=1e-9, atol=1e-9)


def test_float32_inputs_of_large_numbers_keep_their_digits() -> None:
    y = 1e9 + np.sin(np.arange(300) / 4)
    made = task(y[:, None], context=30, horizon=3)
    reference = ChannelLinear([0]).fit(made)
    batch = made.sample("test", 20)
    error = np.abs(batch.in_units(reference.predict(batch)) - batch.in_units(batch.targets))
    assert torch.isfinite(reference.predict(batch)).all() and np.median(error) < 0.01
