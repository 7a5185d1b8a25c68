"""Classical forecasts: exact where their model is the series', blind to the future, and left out with a reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.tasks import classical_forecast, score_reference
from anyformer.tasks.base import Reference
from anyformer.tasks.classical_forecast import METHODS, Classical, Histories, Method
from anyformer.tasks.forecasting import ForecastTask
from anyformer.tasks.steps import Series

ETS = METHODS[0]


def task(values: np.ndarray, *more: np.ndarray, **options: object) -> ForecastTask:
    series = [Series(y[:, None], name=str(i)) for i, y in enumerate((values, *more))]
    return ForecastTask(series, ["y"], ["y"], name="made", **options)  # type: ignore[arg-type]


def growing(seed: int = 0, size: int = 120) -> np.ndarray:
    """A trend and a season of 12 whose size grows with the level, and a little noise."""
    season = 1 + 0.3 * np.sin(np.arange(size) * 2 * np.pi / 12)
    return (50 + np.arange(size)) * season + np.random.default_rng(seed).normal(size=size) * 0.01


def classical(made: ForecastTask) -> dict[str, Reference]:
    return {one.name: one for one in made.references() if isinstance(one, Classical)}


def test_a_season_that_grows_is_told_by_its_own_model_and_by_nothing_simple() -> None:
    pytest.importorskip("statsforecast")
    made = task(growing(), context=12, horizon=3, seasons=[12])
    others = [one for one in made.references() if one.name != "AutoARIMA"]
    found = {one.name: score_reference(one.fit(made), made) for one in others}
    simple = min(found[name] for name in ("last value", "seasonal naive", "window mean"))
    assert found["AutoETS"] < 0.02 * simple and found["AutoTheta"] < 0.4 * simple


def test_arima_finds_what_the_next_value_depends_on() -> None:
    pytest.importorskip("statsforecast")
    y = np.random.default_rng(8).normal(size=200)
    for t in range(2, 200):
        y[t] += 1.6 * y[t - 1] - 0.9 * y[t - 2]
    made = task(y, context=12, horizon=1)
    found = {one.name: score_reference(one.fit(made), made) for one in made.references()}
    assert found["AutoARIMA"] < 0.8 * min(found[name] for name in ("last value", "window mean", "AutoETS"))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_nothing_after_the_origin_is_seen(method: Method) -> None:
    pytest.importorskip("statsforecast")
    y = growing(1)[:72]
    changed = y.copy()
    changed[66:] += 40
    told = []
    for values in (y, changed):
        made = task(values, context=12, horizon=2, borders=[40, 55, 72])
        reference = Classical(method, Histories(made._steps, [0], np.array([62, 64]), 2, 3, []))
        told.append(reference.fit(made)._ahead(64))
    np.testing.assert_array_equal(*told)


def test_between_two_fits_the_model_goes_on_from_the_values_since(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("statsforecast")
    made = task(growing(2), context=12, horizon=2, seasons=[12])
    histories = made._classical()[0][0].histories  # type: ignore[attr-defined]
    monkeypatch.setattr(classical_forecast, "SECONDS", 100.0)
    assert "at each origin" in Classical(ETS, histories).fit(made).description
    monkeypatch.setattr(classical_forecast, "SECONDS", 0.2)
    one = Classical(ETS, histories).fit(made)
    assert list(one.models) == [histories.origins[0]] and "at 1 of the " in one.description
    assert score_reference(one, made) < 0.5
    before = made.sample("valid", 1)
    assert torch.isfinite(one.predict(before)).all() and min(one.models) == before.origin[0]  # type: ignore[index]


def test_series_have_models_of_their_own_and_start_where_they_are_known() -> None:
    pytest.importorskip("statsforecast")
    late = growing(3)
    late[:30] = np.nan
    made = task(growing(3), 1000 + 5 * late, context=12, horizon=2, seasons=[12])
    assert made.metric.id == "mase" and classical(made)["AutoETS"].histories.models == 2  # type: ignore[attr-defined]
    assert score_reference(classical(made)["AutoETS"].fit(made), made) < 0.3


def test_quantiles_are_the_models_own() -> None:
    pytest.importorskip("statsforecast")
    noise = np.random.default_rng(4).normal(size=150)
    made = task(10 + noise, context=12, horizon=2, quantiles=[0.1, 0.5, 0.9])
    reference = classical(made)["AutoARIMA"].fit(made)
    batch = made.sample("test", 5)
    told = batch.in_units(reference.predict(batch).unflatten(1, (2, 1, 3)))
    assert told.shape == (5, 2, 1, 3)
    np.testing.assert_allclose(told.mean((0, 1, 2)), 10 + np.array([-1.2816, 0, 1.2816]), atol=0.3)


def test_a_series_that_never_changes_is_told_exactly() -> None:
    pytest.importorskip("statsforecast")
    flat = np.full(90, 5.0)
    made = task(flat, growing(5)[:90], context=12, horizon=2)
    batch = made.sample("test", 100)
    assert batch.origin is not None
    still = batch.origin < 90
    for reference in classical(made).values():
        told = batch.in_units(reference.fit(made).predict(batch).view(-1, 2, 1))
        np.testing.assert_allclose(told[still], 5.0, atol=1e-3, err_msg=reference.name)


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    many = [rng.normal(size=60) for _ in range(20)]
    daily = np.sin(np.arange(300) * 2 * np.pi / 24) + 0.1 * rng.normal(size=300)
    monkeypatch.setattr(classical_forecast, "find_spec", lambda name: name)
    made = task(daily, context=48, horizon=2, seasons=[24])
    assert list(classical(made)) == ["AutoETS", "AutoTheta"]
    assert made.notes()[-1] == (
        "AutoARIMA is not among the references: too costly for a series with a season of 24 steps"
    )
    made = task(many[0], *many[1:], context=8, horizon=2)
    assert list(classical(made)) == ["AutoETS", "AutoTheta"]
    assert made.notes()[-1] == "AutoARIMA is not among the references: too costly for 20 series"
    monkeypatch.setattr(classical_forecast, "find_spec", lambda name: None)
    assert not classical(made)
    assert 'pip install "anyformer[references]"' in made.notes()[-1]


def test_origins_are_those_of_the_targets() -> None:
    y = np.arange(100.0)
    made = task(y, context=8, horizon=2)
    batch = made.sample("test", 3)
    assert batch.origin is not None
    np.testing.assert_allclose(batch.in_units(batch.targets)[:, 0, 0], batch.origin.numpy(), rtol=1e-5)
    assert torch.equal(batch[1:].origin, batch.origin[1:])  # type: ignore[arg-type]
