"""The linear forecast: never worse than the last value by its own doing, and the form that the data ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.tasks import linear_forecast, score_reference
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.linear_forecast import ChannelLinear, _Form, _ridges, _Sums, lengths
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
    halves = [(x[part], y[part], np.sqrt(counts[part])) for part in (slice(20), slice(20, None))]
    (ridge,) = _ridges(_Sums.of(halves), [penalty], _Form([0], 7, 0))
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


def test_it_looks_back_only_as_far_as_helps() -> None:
    rng = np.random.default_rng(6)
    y = np.zeros(1200)
    for t in range(2, 1200):  # the next value tells of two steps back, and of nothing before
        y[t] = 0.9 * y[t - 1] - 0.8 * y[t - 2] + rng.normal()
    made = task(y[:, None], context=160, horizon=4)
    (ridge,) = ChannelLinear([0]).fit(made).chosen
    assert ridge is not None and ridge.form.back < 160


def test_lengths_are_shares_of_the_window_and_fewer_with_many_targets() -> None:
    assert lengths(384, 1) == [384, 336, 288, 240, 192, 144, 96, 48]
    assert lengths(384, 16) == [384, 192] and lengths(384, 100) == [384] and lengths(60, 1) == [60, 52, 48]


def test_all_training_windows_count_where_targets_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    made = task(rng.normal(size=(400, 1)), context=8, horizon=2)
    monkeypatch.setattr(linear_forecast, "FIT_SAMPLES", 10)
    monkeypatch.setattr(linear_forecast, "PART", 64)
    found = [ChannelLinear([0]).fit(made).chosen[0]]
    monkeypatch.setattr(linear_forecast, "MOST_WINDOWS", 10)
    found.append(ChannelLinear([0]).fit(made).chosen[0])
    means = [None if one is None else one.mean[0] for one in found]
    assert means[0] != means[1]
